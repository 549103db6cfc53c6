"""What is asked about: the sections one engine serves, or would serve, as plain values and as of which revisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, cast

import msgpack
from pydantic import TypeAdapter

from policy import compiled
from proxy import sections

Plain = Mapping[str, object]
HERE, CALLED = "127.0.0.1:1", "127.0.0.1:2"
"""Where listeners stand that are only there to be asked about: a caller's, and the called host's for the mesh."""
FREE = 3
"""Ports from here on are nobody's."""


@dataclass(frozen=True, slots=True)
class World:
    """`source` says whose it is, for people. `ejected`: service, host and instance of those that are out of rotation there."""

    source: str
    policy: int
    registry: int
    snapshot: Mapping[str, Plain]
    ejected: frozenset[tuple[str, str, str]] = field(default_factory=frozenset)
    of_engine: bool = True

    @property
    def host(self) -> sections.Host:
        """Who serves it."""
        return cast(sections.Host, _read(sections.Host, self.snapshot[sections.HOST]))

    def listeners(self) -> Iterable[tuple[str, sections.Listener]]:
        """By their names, `listener/` left out."""
        for name, value in self.snapshot.items():
            if name.startswith("listener/"):
                yield name.removeprefix("listener/"), cast(sections.Listener, _read(sections.Listener, value))

    def service(self, name: str) -> compiled.Service | None:
        """The rules of `ns/service`; None where they are not there."""
        found = self.snapshot.get(f"service/{name}")
        return None if found is None else cast(compiled.Service, _read(compiled.Service, found))

    def gateway(self, name: str) -> sections.Gateway | None:
        """A gateway's section."""
        found = self.snapshot.get(f"gateway/{name}")
        return None if found is None else cast(sections.Gateway, _read(sections.Gateway, found))

    def endpoints(self, name: str) -> tuple[sections.Endpoint, ...]:
        """All instances that are known of `ns/service`, whether they get requests or not."""
        found = self.snapshot.get(f"endpoints/{name}")
        return () if found is None else cast(sections.Endpoints, _read(sections.Endpoints, found)).endpoints

    def with_outbound(self, caller: str, upstream: str) -> tuple[World, str]:
        """The same with a port of `caller` for `upstream`, and what that listener is called."""
        name = "asked"
        listener = sections.Outbound(HERE, caller, upstream)
        return replace(self, snapshot={**self.snapshot, f"listener/{name}": compiled.to_plain(listener)}), name

    def with_inbound(self) -> World:
        """The same with a port for the mesh, which a gateway's engine has not."""
        if sections.INBOUND in self.snapshot:
            return self
        inbound = compiled.to_plain(sections.Inbound(CALLED))
        return replace(self, snapshot={**self.snapshot, sections.INBOUND: inbound})

    def called(self, service: str, host: str) -> World:
        """What the engine of an instance's host has of that service, if it is as current."""
        own = {**self.snapshot[sections.HOST], "name": host}
        inbound = compiled.to_plain(sections.Inbound(CALLED))
        kept = {name: self.snapshot[name] for name in (f"service/{service}", f"endpoints/{service}")}
        return replace(self, snapshot={sections.HOST: own, sections.INBOUND: inbound, **kept})


def plain(sent: Mapping[str, bytes]) -> Mapping[str, Plain]:
    """Sections as they are sent, unpacked."""
    return {name: msgpack.unpackb(value, raw=False) for name, value in sent.items()}


@cache
def _adapter(of: Any) -> TypeAdapter[Any]:
    return TypeAdapter(of)


def _read(of: object, value: object) -> object:
    return _adapter(of).validate_python(value)
