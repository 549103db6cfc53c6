"""Compiled policy as a host may use it: PURE.

A publication takes several transactions, and is atomic all the same: what is newer than `compiled/head` is held until head
reaches it. `Published` is a fold over what is stored below `compiled/`; in force is what head covers.

A host that starts in the middle of a publication knows only the newer value of some keys. Then `incomplete` is true: the
caller goes on with what its engine serves, waits for head up to `WAIT_FOR_HEAD`, and then calls `take`.

How it fails: a value that cannot be understood leaves the one before in force and is named in `invalid`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from policy import compiled
from policy.compiled import Gateway, Head, InvalidCompiled, Mesh, Service
from registry import keys
from registry.names import InvalidName, ServiceName
from registry.store import Event, Item

WAIT_FOR_HEAD = 5.0

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Published:
    """What is in force and what is held. `revision` is that of head: the policy this host may say it serves.

    `held` maps a key to its newer value, None where it was deleted.
    """

    revision: int = 0
    stored: Mapping[str, bytes] = field(default_factory=dict)
    held: Mapping[str, bytes | None] = field(default_factory=dict)
    invalid: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[ServiceName, Service] = field(default_factory=dict)
    gateways: Mapping[str, Gateway] = field(default_factory=dict)
    mesh: Mesh = field(default_factory=Mesh)

    @property
    def incomplete(self) -> bool:
        """Whether a key is held that has no older value to serve meanwhile."""
        return any(value is not None and key not in self.stored for key, value in self.held.items())

    def apply(self, events: Iterable[Event]) -> Published:
        """What it comes to after the events of one revision; those of other prefixes are passed over."""
        changes: dict[str, bytes | None] = {}
        head: bytes | None = None
        for event in events:
            value = None if event.item is None else event.item.value
            if event.key == keys.COMPILED_HEAD:
                head = value
            elif _is_ours(event.key):
                changes[event.key] = value
        if not changes and head is None:
            return self
        return self._advance({**self.held, **changes}, head)

    def relist(self, items: Iterable[Item]) -> Published:
        """What it comes to when all that is stored is `items`: what is not among them was deleted."""
        listed = {item.key: item.value for item in items}
        head = listed.get(keys.COMPILED_HEAD)
        found: dict[str, bytes | None] = {key: value for key, value in listed.items() if _is_ours(key)}
        gone: dict[str, bytes | None] = {key: None for key in self.stored if key not in found}
        base = self if _head(head) >= self.revision else Published()
        return base._advance({**gone, **found}, head)

    def take(self) -> Published:
        """Put in force what is held, head or no head."""
        return self._settle(self.revision, self.held, {})

    def _advance(self, waiting: Mapping[str, bytes | None], head: bytes | None) -> Published:
        revision = max(self.revision, _head(head))
        whole = head is not None and all(value is None or _source(value) <= revision for value in waiting.values())
        ready: dict[str, bytes | None] = {}
        held: dict[str, bytes | None] = {}
        for key, value in waiting.items():
            covered = whole if value is None else _source(value) <= revision
            (ready if covered else held)[key] = value
        return self._settle(revision, ready, held)

    def _settle(self, revision: int, ready: Mapping[str, bytes | None], held: Mapping[str, bytes | None]) -> Published:
        stored = dict(self.stored)
        invalid = dict(self.invalid)
        services = dict(self.services)
        gateways = dict(self.gateways)
        mesh = self.mesh
        for key, value in ready.items():
            invalid.pop(key, None)
            if value is not None and stored.get(key) == value:
                continue
            try:
                if key == keys.COMPILED_MESH:
                    mesh = Mesh() if value is None else compiled.decode(Mesh, value)[0]
                elif key.startswith(keys.COMPILED_GATEWAY):
                    _store(gateways, key.removeprefix(keys.COMPILED_GATEWAY), _decode(Gateway, value))
                else:
                    _store(services, keys.parse_compiled_service(key), _decode(Service, value))
            except (InvalidCompiled, InvalidName) as error:
                invalid[key] = str(error)
                continue
            if value is None:
                stored.pop(key, None)
            else:
                stored[key] = value
        return replace(
            self,
            revision=revision,
            stored=stored,
            held=held,
            invalid=invalid,
            services=services,
            gateways=gateways,
            mesh=mesh,
        )


def _is_ours(key: str) -> bool:
    return key == keys.COMPILED_MESH or key.startswith((keys.COMPILED_SERVICE, keys.COMPILED_GATEWAY))


def _head(value: bytes | None) -> int:
    if value is None:
        return 0
    try:
        return compiled.decode(Head, value)[0].source_revision
    except InvalidCompiled:
        return 0


def _source(value: bytes) -> int:
    """The revision a stored value comes from; 0 for one that cannot be read, so that it is looked at, and named, at once."""
    try:
        return compiled.source_revision(value)
    except InvalidCompiled:
        return 0


def _decode(of: type[compiled.T], value: bytes | None) -> compiled.T | None:
    return None if value is None else compiled.decode(of, value)[0]


def _store(into: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        into.pop(key, None)
    else:
        into[key] = value
