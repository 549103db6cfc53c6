"""The engine's sections as values, and their one packing.

The fields are those of `proxy/engine/weft-model/src/section.rs`; services, gateways' routes and what they hold are those of
`policy.compiled`, which has the same shapes. The same value gives the same bytes, so that a section that did not change
is not sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from policy.compiled import Limit, Route, pack
from registry.names import ServiceName

SCHEMA = 1
HOST = "host"
INBOUND = "listener/inbound"
OPEN = "listener/open"

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Host:
    """`host`: who the engine works for."""

    name: str
    zone: str
    trust_domain: str
    datacenter: str


@dataclass(frozen=True, slots=True)
class Outbound:
    """A service's own port for one of its upstreams, on loopback, plain."""

    kind: Literal["outbound"] = field(default="outbound", kw_only=True)
    address: str
    caller: str
    upstream: str


@dataclass(frozen=True, slots=True)
class Open:
    """The port on loopback on which a request's host names the service; everybody there calls as `caller`."""

    kind: Literal["open"] = field(default="open", kw_only=True)
    address: str
    caller: str


@dataclass(frozen=True, slots=True)
class Inbound:
    """The host's one port for mesh traffic."""

    kind: Literal["inbound"] = field(default="inbound", kw_only=True)
    address: str


@dataclass(frozen=True, slots=True)
class Public:
    """A public port of a gateway; `listener` is its name in `gateway/<gateway>`."""

    kind: Literal["gateway"] = field(default="gateway", kw_only=True)
    address: str
    gateway: str
    listener: str


Listener = Outbound | Open | Inbound | Public


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One instance; its state in the engine is keyed by host and instance. `labels` has `version` among them."""

    instance: str
    host: str
    address: str
    port: int
    weight: int
    zone: str
    labels: Mapping[str, str]
    state: Literal["up", "drain", "down"]
    suspect: bool = False


@dataclass(frozen=True, slots=True)
class Endpoints:
    """`endpoints/<ns>/<name>`. `outside` the mesh endpoints are spoken to in plain and prove nothing; no service of the mesh is."""

    endpoints: tuple[Endpoint, ...] = ()
    outside: bool = False


@dataclass(frozen=True, slots=True)
class RedirectTo:
    """Where a redirecting listener sends everybody."""

    scheme: Literal["http", "https"]
    port: int


@dataclass(frozen=True, slots=True)
class GatewayListener:
    """What happens at one public port; `certificates` are names of identities, `public/<gateway>/<listener>/<n>`."""

    protocol: Literal["http", "https", "tls"]
    hosts: tuple[str, ...] = ()
    redirect_to: RedirectTo | None = None
    certificates: tuple[str, ...] = ()
    tls_min: str = "1.2"
    proxy_protocol_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gateway:
    """`gateway/<name>`: an edge."""

    listeners: Mapping[str, GatewayListener] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    passthrough: tuple[Route, ...] = ()
    trust_forwarded_from: tuple[str, ...] = ()
    max_body: int = 0
    limits: tuple[Limit, ...] = ()


def encode(section: object) -> bytes:
    """The canonical msgpack of a section; of equal sections, equal bytes."""
    return pack(section)


def service(name: ServiceName) -> str:
    """`service/<ns>/<name>`."""
    return f"service/{name}"


def endpoints(name: ServiceName) -> str:
    """`endpoints/<ns>/<name>`."""
    return f"endpoints/{name}"


def outbound(caller: ServiceName, upstream: ServiceName) -> str:
    """The listener of one pair of service and upstream; names have no dots, so no two pairs share one."""
    name = f"{caller.namespace}.{caller.name}.{upstream.namespace}.{upstream.name}"
    if len(name) > _LONGEST_NAME:
        name = "pair." + hashlib.sha256(name.encode()).hexdigest()
    return f"listener/{name}"


def public(listener: str) -> str:
    """The listener of one public port of this host's gateway."""
    return f"listener/public.{listener}"


def gateway(name: str) -> str:
    """`gateway/<name>`."""
    return f"gateway/{name}"
