"""The one grammar of `get`, `delete` and `diff`: `TYPE[/NAME]`, a namespace beside it or before it.

A type may be written in the singular or the plural. A document may also be named as its key says, `shop/route/api-split`,
which is how `apply` names what it wrote.
"""

from __future__ import annotations

from dataclasses import dataclass

from ops.cli.codes import Fault
from registry.names import DEFAULT_NAMESPACE, MESH_NAMESPACE, check_name

KINDS = {
    "routes": "route",
    "traffic": "traffic",
    "access": "access",
    "limits": "limit",
    "faults": "fault",
    "gateways": "gateway",
    "defaults": "defaults",
}
LISTED = ("services", "instances", "hosts", "certificates", "documents", *KINDS)
_SINGULAR = {"services": "service", "instances": "instance", "hosts": "host", "certificates": "certificate"}
_WORDS = {
    **{plural: plural for plural in LISTED},
    **{singular: plural for plural, singular in (_SINGULAR | KINDS | {"documents": "document"}).items()},
    "accesses": "access",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """What a person named: a type in the plural, a name or none, and a namespace where the reference itself says one."""

    type: str
    name: str | None
    namespace: str | None = None

    @property
    def kind(self) -> str | None:
        """The kind of document as it stands in keys, or None where other things are meant."""
        return KINDS.get(self.type)


def parse_reference(text: str) -> Reference:
    """`routes`, `route/api-split`, `shop/route/api-split`; raises `Fault` for a type there is not, `InvalidName`."""
    first, *more = text.split("/")
    if len(more) == 2:
        return _reference(more[0], more[1], namespace=first)
    if len(more) > 2:
        raise Fault("unknown_type", f"{text!r} is not TYPE, TYPE/NAME or NAMESPACE/TYPE/NAME")
    return _reference(first, more[0] if more else None, namespace=None)


def home(kind: str | None, namespace: str | None) -> str:
    """The namespace meant: the one that was said, else `mesh` for what lives only there, else `default`."""
    if namespace is not None:
        return check_name(namespace, what="namespace")
    return MESH_NAMESPACE if kind == "gateway" else DEFAULT_NAMESPACE


def _reference(word: str, name: str | None, *, namespace: str | None) -> Reference:
    plural = _WORDS.get(word.lower())
    if plural is None:
        raise Fault("unknown_type", f"there is nothing of type {word!r}: write one of {', '.join(LISTED)}")
    if name is not None:
        check_name(name, what="name")
    if namespace is not None:
        check_name(namespace, what="namespace")
    return Reference(plural, name, namespace)
