"""What the registration API needs of a host, and the words they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from registry.model import Endpoint, State
from registry.model import Protocol as Spoken
from registry.names import ServiceName
from registry.registration import Problem, Registration


class ConflictError(Exception):
    """What was asked contradicts what is there already; the problem says what."""

    code = "conflict"

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """Where a program finds an upstream, and whether anybody has registered it yet."""

    url: str
    known: bool


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registration has come to. `revision` is the registry's, 0 while only the disk has it."""

    key: str
    revision: int
    stored: Literal["etcd", "disk"]
    state: State
    why: str
    identity: str
    upstreams: Mapping[str, UpstreamAddress] = field(default_factory=dict)
    changed: bool = False
    created: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What this host knows of all services: as of a revision, from where, and for how many seconds unconfirmed."""

    revision: int
    source: str
    age: float
    services: Mapping[ServiceName, tuple[Endpoint, ...]]
    protocols: Mapping[ServiceName, Spoken]


class Registrar(Protocol):
    """What the API needs of a host."""

    async def register(self, registration: Registration) -> Registered:
        """Make it so; raises `ConflictError`."""
        ...

    async def deregister(self, service: ServiceName, instance: str) -> Registered | None:
        """End it, with a tombstone; None where there is no such instance of this host."""
        ...

    async def drain(self, service: ServiceName, instance: str) -> Registered | None:
        """Take it out of rotation; None where there is no such instance of this host."""
        ...

    def beat(self, service: ServiceName, instance: str) -> bool:
        """A program says it works; False where no ttl check of this host waits for that."""
        ...

    def instance(self, service: ServiceName, instance: str) -> Registered | None:
        """An instance of this host."""
        ...

    def known(self) -> Known:
        """Services and endpoints."""
        ...

    async def changed(self, seen: int) -> int:
        """Return when `known` may differ from what it was at `seen`, and the number to ask with next; 0 first."""
        ...

    def status(self) -> Mapping[str, object]:
        """This host, for people and for `weft status`."""
        ...

    def gauges(self) -> Mapping[str, float]:
        """Names and values for `/metrics`."""
        ...
