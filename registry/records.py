"""What the registry's keys hold: JSON, to and from the values of `registry.model`.

Reading is strict about what it uses and silent about what it does not know: a newer agent may add fields, and
`meta/layout` says when that is no longer enough. Encoding sorts its fields, so that an unchanged value gives unchanged
bytes and is not written again.

How it fails: `InvalidRecord`, naming the key, the field and what was expected. A reader treats such a key as one it
cannot use and says so; it never stops for it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import cast

import orjson

from registry import keys
from registry.model import Host, Instance, Protocol, State, Tombstone
from registry.names import InvalidName, check_name

DEREGISTERED = "deregistered"
EVICTED = "evicted"


class InvalidRecord(ValueError):
    """A stored value that cannot be understood. The message names the key, the field and what was expected."""

    code = "invalid_record"


def is_address(text: str) -> bool:
    """Whether this is `ip:port` as engines read it: IPv6 in brackets and without a zone, a port from 1 to 65535."""
    host, _, port = text.rpartition(":")
    inside = host.removeprefix("[").removesuffix("]")
    try:
        version = ipaddress.ip_address(inside).version
    except ValueError:
        return False
    written = f"[{inside}]" if version == 6 else inside
    return host == written and "%" not in host and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535


def encode_instance(record: Instance | Tombstone) -> bytes:
    """The value of `registry/<ns>/<service>/<instance>`; service and id are in the key."""
    if isinstance(record, Tombstone):
        return _dump({"gone": record.gone, "at": record.at})
    value: dict[str, object] = {
        "address": record.address,
        "port": record.port,
        "protocol": record.protocol.value,
        "version": record.version,
        "labels": dict(record.labels),
        "weight": record.weight,
        "host": record.host,
        "state": record.state.value,
        "since": record.since,
        "why": record.why,
    }
    if record.external_id:
        value["external_id"] = record.external_id
    return _dump(value)


def decode_instance(key: str, value: bytes) -> Instance | Tombstone:
    """The inverse of `encode_instance`, of a key relative to the root; raises `InvalidRecord`."""
    fields = _Fields.of(key, value)
    if fields.has("gone"):
        return Tombstone(fields.text("gone"), fields.number("at", default=0.0))
    try:
        service, instance = keys.parse_instance(key)
        host = check_name(fields.text("host"), what="host")
    except InvalidName as error:
        raise InvalidRecord(f"{key}: {error}") from error
    return Instance(
        service=service,
        id=instance,
        host=host,
        address=fields.address("address"),
        port=fields.integer("port", low=1, high=65535),
        protocol=Protocol(fields.one_of("protocol", {protocol.value for protocol in Protocol})),
        state=State(fields.one_of("state", {state.value for state in State})),
        version=fields.text("version", default=""),
        labels=fields.texts("labels"),
        weight=fields.integer("weight", low=0, high=1000, default=100),
        since=fields.number("since", default=0.0),
        why=fields.text("why", default=""),
        external_id=fields.text("external_id", default=""),
    )


def encode_host(host: Host) -> bytes:
    """The value of `hosts/<host>`; the name is in the key."""
    return _dump(
        {
            "boot_id": host.boot_id,
            "addresses": list(host.addresses),
            "zone": host.zone,
            "versions": dict(host.versions),
            "owner": host.owner,
        }
    )


def decode_host(key: str, value: bytes) -> Host:
    """The inverse of `encode_host`, of a key relative to the root; raises `InvalidRecord`."""
    fields = _Fields.of(key, value)
    try:
        name = check_name(key.removeprefix(keys.HOSTS), what="host")
    except InvalidName as error:
        raise InvalidRecord(f"{key}: {error}") from error
    return Host(
        name=name,
        boot_id=fields.text("boot_id"),
        addresses=fields.list_of_texts("addresses"),
        zone=fields.text("zone", default=""),
        versions=fields.texts("versions"),
        owner=fields.text("owner"),
    )


def _dump(value: Mapping[str, object]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


class _Fields:
    """The fields of one stored object, read by the type each must have."""

    def __init__(self, key: str, fields: Mapping[str, object]) -> None:
        self._key = key
        self._fields = fields

    @classmethod
    def of(cls, key: str, value: bytes) -> _Fields:
        try:
            fields = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise InvalidRecord(f"{key}: not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise InvalidRecord(f"{key}: expected a JSON object, found {type(fields).__name__}")
        return cls(key, fields)

    def has(self, name: str) -> bool:
        return name in self._fields

    def text(self, name: str, *, default: str | None = None) -> str:
        value = self._fields.get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "a string")
        return value

    def integer(self, name: str, *, low: int, high: int, default: int | None = None) -> int:
        value = self._fields.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._wrong(name, f"a whole number from {low} to {high}")
        return value

    def number(self, name: str, *, default: float) -> float:
        value = self._fields.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(name, "a number")
        return float(value)

    def one_of(self, name: str, allowed: set[str]) -> str:
        value = self._fields.get(name)
        if not isinstance(value, str) or value not in allowed:
            raise self._wrong(name, f"one of {', '.join(sorted(allowed))}")
        return value

    def texts(self, name: str) -> dict[str, str]:
        value = self._fields.get(name, {})
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise self._wrong(name, "an object of strings")
        return cast(dict[str, str], value)

    def list_of_texts(self, name: str) -> tuple[str, ...]:
        value = self._fields.get(name, [])
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self._wrong(name, "a list of strings")
        return tuple(value)

    def address(self, name: str) -> str:
        value = self.text(name)
        if not is_address(value):
            raise self._wrong(name, "ip:port")
        return value

    def _wrong(self, name: str, expected: str) -> InvalidRecord:
        found = repr(self._fields[name])[:80] if name in self._fields else "nothing"
        return InvalidRecord(f"{self._key}: field {name!r}: expected {expected}, found {found}")
