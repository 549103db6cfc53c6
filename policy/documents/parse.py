"""One document: from bytes to a checked value, or to every reason why not."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from policy.diagnostics import CODES, Diagnostic, diagnostic
from policy.documents.kinds import KINDS, LATER, MESH_WIDE, AnySpec
from policy.documents.source import Path, Source, Unquoted, Unreadable, read
from registry.keys import DocumentKey
from registry.names import DEFAULT_NAMESPACE, MESH_NAMESPACE, is_name

API_VERSION = "weft/v1"

_HEAD = ("apiVersion", "kind", "metadata", "spec")
_METADATA = ("name", "namespace")


@dataclass(frozen=True, slots=True)
class Document:
    """A document that can be compiled. `places` gives the line and column of its parts, for what is found out later."""

    key: DocumentKey
    kind: str
    spec: AnySpec
    source: Source

    def diagnose(self, name: str, message: str, *path: str | int) -> Diagnostic:
        """A diagnostic that stands at `path`."""
        return _at(self.source, path, name, message)


def parse(key: DocumentKey, document: bytes) -> Document | tuple[Diagnostic, ...]:
    """The document stored under `key`, or every reason why it is none. The same bytes are read only once."""
    return _parse(key, document)


@lru_cache(maxsize=20_000)
def _parse(key: DocumentKey, document: bytes) -> Document | tuple[Diagnostic, ...]:
    try:
        source = read(document)
    except Unreadable as error:
        return error.diagnostics
    faults = _head(source)
    kind = _kind(source, key.kind, faults)
    _agrees(source, key, faults)
    spec = _spec(source, kind, faults) if kind in KINDS else None
    if kind in MESH_WIDE and key.namespace != MESH_NAMESPACE:
        faults.append(_at(source, ("kind",), "wrong_namespace", f"a {kind} lives in the namespace {MESH_NAMESPACE!r}"))
    if kind == "Limit" and key.namespace != MESH_NAMESPACE and _has(source, "spec", "gateway"):
        said = "limits of gateways stand in the namespace 'mesh', as gateways do"
        faults.append(_at(source, ("spec", "gateway"), "wrong_namespace", said))
    if kind == "Defaults" and key.namespace != MESH_NAMESPACE and _has(source, "spec", "gateway"):
        faults.append(
            _at(source, ("spec", "gateway"), "wrong_namespace", "defaults of gateways stand in the namespace 'mesh'")
        )
    if faults or spec is None or kind is None:
        return tuple(sorted(set(faults), key=lambda fault: (fault.line, fault.column, fault.code.code, fault.path)))
    return Document(key, kind, spec, source)


def identify(document: bytes, *, namespace: str | None) -> DocumentKey | tuple[Diagnostic, ...]:
    """The key that a document of a file belongs under: the namespace is the one given, the file's, or `default`."""
    try:
        source = read(document)
    except Unreadable as error:
        return error.diagnostics
    faults = _head(source)
    kind = _kind(source, None, faults)
    metadata = _mapping(_get(source.value, "metadata"))
    name, written = metadata.get("name"), metadata.get("namespace")
    if name is None:
        faults.append(
            _at(source, ("metadata",), "name_missing", "metadata.name is missing: it becomes part of the key")
        )
    for field, value in (("name", name), ("namespace", written)):
        if value is not None and not (isinstance(value, str) and is_name(value)):
            faults.append(_name_fault(source, field, value))
    if namespace is not None and isinstance(written, str) and written != namespace:
        said = f"metadata.namespace says {written!r} and the namespace asked for is {namespace!r}"
        faults.append(_at(source, ("metadata", "namespace"), "namespace_disagrees", said))
    if faults or kind is None or not isinstance(name, str):
        return tuple(faults)
    found = namespace or (written if isinstance(written, str) else DEFAULT_NAMESPACE)
    return DocumentKey(found, kind.lower(), name)


def target_of(document: bytes) -> tuple[str | None, bool]:
    """What can still be read of a broken document: the service it names, and whether it says that it is in shadow."""
    try:
        spec = _mapping(_get(read(document).value, "spec"))
    except Unreadable:
        return None, False
    service = spec.get("service")
    return (service if isinstance(service, str) and is_name(service) else None), spec.get("mode") == "shadow"


def _head(source: Source) -> list[Diagnostic]:
    """What is wrong with apiVersion, metadata and the fields at the top."""
    if not isinstance(source.value, dict):
        return [_at(source, (), "wrong_type", "a document is a map: apiVersion, kind, metadata, spec")]
    faults = []
    version = source.value.get("apiVersion")
    if version != API_VERSION:
        found = "nothing" if version is None else repr(getattr(version, "text", version))
        faults.append(
            _at(source, ("apiVersion",), "api_version", f"apiVersion is {found}: write apiVersion: {API_VERSION}")
        )
    for name in source.value:
        if name not in _HEAD:
            faults.append(_unknown(source, (name,), _HEAD))
    metadata = source.value.get("metadata")
    if "metadata" in source.value and not isinstance(metadata, dict):
        faults.append(_at(source, ("metadata",), "wrong_type", "metadata is a map: {name: …, namespace: …}"))
    for name in _mapping(metadata):
        if name not in _METADATA:
            faults.append(_unknown(source, ("metadata", name), _METADATA))
    return faults


def _kind(source: Source, in_key: str | None, faults: list[Diagnostic]) -> str | None:
    kind = _get(source.value, "kind")
    if not isinstance(source.value, dict):
        return None
    known = (*KINDS, *LATER)
    if not isinstance(kind, str) or kind not in known:
        nearest = difflib.get_close_matches(str(kind), known, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest and isinstance(kind, str) else f"there are {', '.join(KINDS)}"
        found = "nothing" if kind is None else repr(getattr(kind, "text", kind))
        faults.append(_at(source, ("kind",), "unknown_kind", f"kind is {found}: {hint}"))
        return None
    if in_key is not None and kind.lower() != in_key:
        faults.append(_at(source, ("kind",), "kind_disagrees", f"kind is {kind} and the key says {in_key}"))
    if kind in LATER:
        faults.append(
            _at(source, ("kind",), "kind_not_enforced", f"{kind} is not enforced by any engine yet: remove it")
        )
    return kind


def _agrees(source: Source, key: DocumentKey, faults: list[Diagnostic]) -> None:
    metadata = _mapping(_get(source.value, "metadata"))
    for field, expected in (("name", key.name), ("namespace", key.namespace)):
        value = metadata.get(field, expected)
        if not isinstance(value, str):
            faults.append(_name_fault(source, field, value))
        elif value != expected:
            said = f"metadata.{field} says {value!r} and the key says {expected!r}"
            faults.append(_at(source, ("metadata", field), f"{field}_disagrees", said))


def _name_fault(source: Source, field: str, value: object) -> Diagnostic:
    if isinstance(value, Unquoted | bool | int | float):
        text = source.place(("metadata", field)).text or str(value)
        return _at(source, ("metadata", field), "quote_it", f'a string is expected, quote it: "{text}"')
    said = f"{value!r} is no name: write 1 to 63 lower-case letters, digits and hyphens"
    return _at(source, ("metadata", field), "bad_name", said)


def _spec(source: Source, kind: str | None, faults: list[Diagnostic]) -> AnySpec | None:
    spec = _get(source.value, "spec")
    if kind is None or not isinstance(spec, dict):
        faults.append(_at(source, ("spec",), "missing_field", "spec is missing: a map of the fields of this kind"))
        return None
    try:
        return cast(AnySpec, KINDS[kind].model_validate(spec))
    except ValidationError as error:
        faults.extend(_field(source, detail) for detail in error.errors(include_url=False))
        return None


def _field(source: Source, detail: ErrorDetails) -> Diagnostic:
    """One of pydantic's errors as a diagnostic of ours."""
    path: Path = ("spec", *detail["loc"])
    at_key = path[-1] == "[key]"
    path = path[:-1] if at_key else path
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "quote_it":
        text = source.place(path).text
        return _at(
            source, path, kind, f'a string is expected and YAML reads {text} as something else: quote it: "{text}"'
        )
    if kind in CODES:
        return _at(
            source, path, kind, str(context["said"]), key=at_key or kind in ("unknown_field", "field_not_enforced")
        )
    if kind == "missing":
        return _at(source, path, "missing_field", f"the field {path[-1]!r} is required")
    if kind in ("greater_than_equal", "less_than_equal", "too_short", "too_long", "string_too_long"):
        bounds = {"ge": "at least", "le": "at most", "min_length": "at least", "max_length": "at most"}
        said = ", ".join(f"{word} {context[name]}" for name, word in bounds.items() if name in context)
        unit = {"too_short": " entries; leave the field out for the default", "too_long": " entries"}.get(kind, "")
        return _at(source, path, "out_of_range", f"expected {said}{unit}")
    return _at(
        source, path, "wrong_type", f"expected {_EXPECTED.get(kind, detail['msg'])}, found {_found(source, path)}"
    )


_EXPECTED = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "model_type": "a map",
    "dict_type": "a map",
    "list_type": "a list",
}


def _found(source: Source, path: Path) -> str:
    value = source.value
    for step in path:
        value = value[step] if isinstance(value, dict | list) and _in(value, step) else None  # type: ignore[index]
    if isinstance(value, dict | list):
        return "a map" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else repr(source.place(path).text or value)


def _in(value: dict[str, object] | list[object], step: str | int) -> bool:
    return step in value if isinstance(value, dict) else isinstance(step, int) and step < len(value)


def _unknown(source: Source, path: Path, known: tuple[str, ...]) -> Diagnostic:
    nearest = difflib.get_close_matches(str(path[-1]), known, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(known)}"
    return _at(source, path, "unknown_field", f"there is no field {path[-1]!r} here: {hint}", key=True)


def _at(source: Source, path: Path, name: str, message: str, *, key: bool = False) -> Diagnostic:
    place = source.place(path, key=key)
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return diagnostic(name, message, path=text, line=place.line, column=place.column)


def _get(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _has(source: Source, *path: str) -> bool:
    return path in source.places
