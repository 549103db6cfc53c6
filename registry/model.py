"""What exists: services, their instances, and the hosts they run on.

Frozen values, parsed. What is stored is in `registry/records.py`, where it is stored in `registry/keys.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from registry.names import ServiceName


class Protocol(Enum):
    """What a service speaks. It belongs to the service: an instance that contradicts the others is refused."""

    HTTP = "http"
    HTTP2 = "http2"
    GRPC = "grpc"
    TCP = "tcp"


class State(Enum):
    """What an instance says of itself, as found by its host's checks."""

    STARTING = "starting"
    UP = "up"
    DOWN = "down"
    DRAIN = "drain"


class Presence(Enum):
    """What a reader may conclude from the keys (DESIGN.md section 4, presence)."""

    CONFIRMED = "confirmed"
    SUSPECT = "suspect"
    GONE = "gone"


class Source(Enum):
    """Where an endpoint was learned."""

    ETCD = "etcd"
    MDNS = "mdns"
    DISK = "disk"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Instance:
    """One running copy of a service, as registered by its host.

    `address` is the `ip:port` of the host's inbound listener; `port` is the application's own, on loopback.
    `since` is in seconds since the epoch, by the clock of the instance's host; `weight` is 0 to 1000, 100 if not said.
    """

    service: ServiceName
    id: str
    host: str
    address: str
    port: int
    protocol: Protocol
    state: State
    version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    weight: int = 100
    since: float = 0.0
    why: str = ""
    external_id: str = ""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What an instance's key says at the end, for ten minutes: why it is gone and when."""

    gone: str
    at: float


@dataclass(frozen=True, slots=True)
class Host:
    """A machine with an agent and an engine. Written after its registrations, so it also says "these are all of mine"."""

    name: str
    boot_id: str
    addresses: tuple[str, ...]
    zone: str
    versions: Mapping[str, str]
    owner: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a proxy reaches an instance. Its state in an engine is keyed by `host` and `instance`."""

    service: ServiceName
    instance: str
    host: str
    address: str
    port: int
    protocol: Protocol
    state: State
    presence: Presence
    source: Source
    weight: int = 100
    zone: str = ""
    version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
