"""What the compiler writes and hosts read: the schema of the keys below `compiled/`.

The shapes of `Service`, `Gateway` and what they hold are those of the engine's sections
(`proxy/engine/weft-model/src/section.rs`, schema 1), so that a host hands them on without translating: durations are
whole milliseconds, shares are percentages, services are `namespace/name`.

A stored value is msgpack in an envelope `[magic, schema, source_revision, payload]`. `decode` raises `InvalidCompiled` for
anything else, with what was found: a reader never acts on half of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, TypeVar, cast

import msgpack
from pydantic import TypeAdapter, ValidationError

from registry.store import Revision

MAGIC = b"weft1"
SCHEMA = 1


class InvalidCompiled(ValueError):
    """Bytes that are no compiled value of a schema this process understands."""

    code = "invalid_compiled"


@dataclass(frozen=True, slots=True)
class Exact:
    """Byte for byte."""

    exact: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """Whole path segments."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Regex:
    """The whole text, anchored at both ends; the syntax of Rust's `regex` crate (RE2-like)."""

    regex: str


@dataclass(frozen=True, slots=True)
class Present:
    """Whether the field is there at all."""

    present: bool


PathMatch = Exact | Prefix | Regex
ValueMatch = Exact | Regex | Present


@dataclass(frozen=True, slots=True)
class Match:
    """All of it must hold. Header names are in lower case; an empty list means every one."""

    path: PathMatch | None = None
    methods: tuple[str, ...] = ()
    headers: Mapping[str, ValueMatch] = field(default_factory=dict)
    callers: tuple[str, ...] = ()
    """Each `*`, `ns/*`, `ns/service`, `gateway:<name>` or `spiffe://…`; what a document writes as `from`."""


@dataclass(frozen=True, slots=True)
class Target:
    """One of the places a rule sends requests to: `service` is `ns/name`; `labels` must all be carried (`version` is one)."""

    service: str
    weight: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Changes on the way: the matched path prefix, the Host field."""

    path_prefix: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where a copy of `percent` of the requests goes; its answers are thrown away."""

    service: str
    labels: Mapping[str, str] = field(default_factory=dict)
    percent: float = 100.0


@dataclass(frozen=True, slots=True)
class Forward:
    """Send it on; `to` is never empty."""

    kind: Literal["forward"] = field(default="forward", kw_only=True)
    to: tuple[Target, ...]
    on_empty: Literal["spill", "fail"] = "spill"
    rewrite: Rewrite = Rewrite()
    mirror: Mirror | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answer with a Location; what is None is the request's own."""

    kind: Literal["redirect"] = field(default="redirect", kw_only=True)
    scheme: Literal["http", "https"] | None = None
    host: str | None = None
    path: str | None = None
    code: int = 302


@dataclass(frozen=True, slots=True)
class Respond:
    """Answer at once, as `text/plain`."""

    kind: Literal["respond"] = field(default="respond", kw_only=True)
    code: int
    body: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """When to try again; `max` counts retries, `per_try_timeout_ms` 0 means derived so that all tries fit the timeout."""

    max: int = 1
    undelivered: bool = True
    reset: bool = True
    statuses: tuple[int, ...] = ()
    grpc_statuses: tuple[int, ...] = ()
    """Codes that an answer of gRPC without a body may say, whatever the method."""
    methods: tuple[str, ...] = ()
    per_try_timeout_ms: int = 0
    backoff_base_ms: int = 25
    backoff_max_ms: int = 250


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """`remove` first, then `set`, then `add`; names in lower case."""

    set: Mapping[str, str] = field(default_factory=dict)
    add: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One rule of a Route document. `name` is `<document>/<rule>`; the smaller `rank` wins a tie; `hosts` only at a gateway."""

    name: str
    rank: int
    action: Forward | Redirect | Respond
    matches: tuple[Match, ...] = ()
    hosts: tuple[str, ...] = ()
    timeout_ms: int = 15_000
    retry: Retry = Retry()
    request_headers: HeaderEdits = HeaderEdits()
    response_headers: HeaderEdits = HeaderEdits()
    allow_encoded_slash: bool = False


@dataclass(frozen=True, slots=True)
class Capacity:
    """Bounds towards one service, per engine; 0 means none."""

    connections: int = 0
    pending: int = 1024
    requests: int = 0


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """The share of active requests that may be retries, in percent, and how many always may."""

    percent: float = 20.0
    min: int = 3


@dataclass(frozen=True, slots=True)
class Outlier:
    """Passive health; `consecutive` 0 and `success_below` 0 mean never."""

    consecutive: int = 5
    success_below: float = 80.0
    eject_ms: int = 30_000
    max_ejected: float = 50.0
    latency_factor: float = 0.0
    """How many times its peers' median an endpoint's mean time to answer may be; 0 means any."""


@dataclass(frozen=True, slots=True)
class HeaderKey:
    """A field's value, its name in lower case."""

    header: str


@dataclass(frozen=True, slots=True)
class CookieKey:
    """A cookie's value."""

    cookie: str


@dataclass(frozen=True, slots=True)
class QueryKey:
    """A parameter's value in the query, undecoded."""

    query: str


@dataclass(frozen=True, slots=True)
class SourceKey:
    """At a gateway the client's address, between services the calling host."""

    source_address: Literal[True] = True


HashOn = HeaderKey | CookieKey | QueryKey | SourceKey


@dataclass(frozen=True, slots=True)
class RingHash:
    """Requests with the same key to the same endpoint, by points on a ring."""

    ring_hash: HashOn


@dataclass(frozen=True, slots=True)
class MaglevTable:
    """What the key is, and the table's entries: a prime."""

    on: HashOn
    table_size: int = 65_537


@dataclass(frozen=True, slots=True)
class Maglev:
    """The same, by a table."""

    maglev: MaglevTable


Balance = Literal["p2c", "least_request", "round_robin", "random"] | RingHash | Maglev


@dataclass(frozen=True, slots=True)
class ZonePreference:
    """Endpoints of the caller's zone are preferred, all while `spill_below` percent of their weight is healthy."""

    spill_below: float = 70.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """How a service is called. The values here are what is built in (DESIGN.md section 5, defaults)."""

    balance: Balance = "p2c"
    connect_timeout_ms: int = 1_000
    timeout_ms: int = 15_000
    idle_timeout_ms: int = 3_600_000
    stream_idle_ms: int = 300_000
    retry: Retry = Retry()
    capacity: Capacity = Capacity()
    retry_budget: RetryBudget = RetryBudget()
    outlier: Outlier = Outlier()
    proxy_protocol: Literal["v1", "v2"] | None = None
    """Of a tcp service: what stands before the bytes of each connection to its application, and says whose they are."""
    zone: ZonePreference | None = None
    slow_start_ms: int = 0
    failover: tuple[str, ...] = ()
    """Each `ns/service`, in order. What these in turn fail over to stands with them: engines follow it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One Access rule; empty lists mean every one; in shadow it decides nothing and is counted."""

    name: str
    decision: Literal["allow", "deny"]
    shadow: bool = False
    callers: tuple[str, ...] = ()
    """As in `Match.callers`."""
    methods: tuple[str, ...] = ()
    paths: tuple[PathMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call. With at least one enforced allow rule, what none allows is refused; `default` decides where there is none."""

    default: Literal["allow", "deny"] = "allow"
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """One rule of a Limit document: what matches shares a bound, or has one for each caller or client address.

    `rate` in `window_ms`, 0 for none, with `burst` at once; `concurrency` at a time, 0 for none. `scope` mesh: each host
    that runs the service keeps its share of it.
    """

    name: str
    """`<document>/<rule>`"""
    matches: tuple[Match, ...] = ()
    by: Literal["everybody", "caller", "address"] = "everybody"
    rate: int = 0
    window_ms: int = 1_000
    burst: int = 1
    concurrency: int = 0
    scope: Literal["host", "mesh"] = "host"


@dataclass(frozen=True, slots=True)
class Fault:
    """One Fault document: what is done to `percent` of the requests that match, until `until_ms` by the engine's clock."""

    name: str
    """`<namespace>/<document>`"""
    until_ms: int
    matches: tuple[Match, ...] = ()
    percent: float = 100.0
    delay_ms: int = 0
    abort: int = 0
    """A status, or 0 for none."""


@dataclass(frozen=True, slots=True)
class Service:
    """`compiled/service/<ns>/<service>`: routes, traffic, access, limits and faults of one service change together."""

    protocol: Literal["http", "http2", "grpc", "tcp"] = "http"
    routes: tuple[Route, ...] = ()
    traffic: Traffic = Traffic()
    access: Access = Access()
    limits: tuple[Limit, ...] = ()
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a public certificate and its key lie on the gateway's host; re-read when they change."""

    cert_file: str
    key_file: str


@dataclass(frozen=True, slots=True)
class GatewayListener:
    """One public port of a gateway. `redirect_to` names another listener of the same gateway; `tls_min` is 1.2 or 1.3.

    `tls` is TLS that is passed on as it is, by server name (`Gateway.passthrough`). `proxy_protocol_from`: the networks
    whose connections begin with a header of the PROXY protocol.
    """

    port: int
    protocol: Literal["http", "https", "tls"]
    hosts: tuple[str, ...] = ()
    redirect_to: str | None = None
    tls_min: str = "1.2"
    certificates: tuple[CertificateFiles, ...] = ()
    proxy_protocol_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gateway:
    """`compiled/gateway/<name>`. `hosts_with`: the labels of the gateway hosts that serve it; `max_body` in bytes, 0: no bound.

    `routes` are for requests, `passthrough` for connections to `tls` listeners: hosts, and where they lead.
    """

    hosts_with: Mapping[str, str] = field(default_factory=dict)
    listeners: Mapping[str, GatewayListener] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    passthrough: tuple[Route, ...] = ()
    trust_forwarded_from: tuple[str, ...] = ()
    max_body: int = 0
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class Base:
    """What holds for a service that no document names, in one namespace: all defaults resolved, field by field."""

    traffic: Traffic = Traffic()
    access: Literal["allow", "deny"] = "allow"


@dataclass(frozen=True, slots=True)
class Mesh:
    """`compiled/mesh`: the bases, mesh-wide and of the namespaces that say something of their own."""

    base: Base = Base()
    namespaces: Mapping[str, Base] = field(default_factory=dict)

    def service(self, namespace: str, protocol: Literal["http", "http2", "grpc", "tcp"]) -> Service:
        """The rules of a service of `namespace` that has no compiled key."""
        base = self.namespaces.get(namespace, self.base)
        return Service(protocol=protocol, traffic=base.traffic, access=Access(default=base.access))


@dataclass(frozen=True, slots=True)
class Head:
    """`compiled/head`: written last in every publication. `changed` lists keys relative to the root; None means all."""

    source_revision: int
    digest: str
    changed: tuple[str, ...] | None = None


Compiled = Service | Gateway | Mesh | Head
T = TypeVar("T", Service, Gateway, Mesh, Head)


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter({"Service": Service, "Gateway": Gateway, "Mesh": Mesh, "Head": Head}[name])


def to_plain(value: object) -> dict[str, object]:
    """Maps, lists, strings and numbers with the field names of the engine's schema, in a fixed order."""
    return cast("dict[str, object]", _plain(value))


def _plain(value: object) -> object:
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is not None:
        return {name: _plain(getattr(value, name)) for name in fields}
    if isinstance(value, Mapping):
        return {str(key): _plain(value[key]) for key in sorted(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def pack(value: object) -> bytes:
    """The canonical msgpack of a value of this module: the same value gives the same bytes."""
    return cast(bytes, msgpack.packb(to_plain(value), use_bin_type=True))


def encode(value: Compiled, *, source_revision: Revision) -> bytes:
    """What is stored: the envelope around the canonical payload."""
    return cast(bytes, msgpack.packb([MAGIC, SCHEMA, int(source_revision), pack(value)], use_bin_type=True))


def payload(stored: bytes) -> bytes:
    """The payload's bytes of a stored value, to compare; raises `InvalidCompiled`."""
    return _open(stored)[1]


def source_revision(stored: bytes) -> Revision:
    """The revision a stored value comes from, whatever it holds; raises `InvalidCompiled`."""
    return _open(stored)[0]


def decode(of: type[T], stored: bytes) -> tuple[T, Revision]:
    """The value in a stored key and the revision it comes from; raises `InvalidCompiled`."""
    revision, body = _open(stored)
    try:
        value: T = _adapter(of.__name__).validate_python(msgpack.unpackb(body, raw=False))
    except (ValidationError, ValueError, msgpack.UnpackException) as error:
        raise InvalidCompiled(f"not a compiled {of.__name__.lower()}: {error}") from error
    if pack(value) != body:
        raise InvalidCompiled(f"a compiled {of.__name__.lower()} says something that this process does not understand")
    return value, revision


def _open(stored: bytes) -> tuple[Revision, bytes]:
    try:
        magic, schema, revision, body = msgpack.unpackb(stored, raw=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise InvalidCompiled(f"not a compiled value: {error}") from error
    if magic != MAGIC:
        raise InvalidCompiled(f"not a compiled value: it starts with {magic!r}, not {MAGIC!r}")
    if schema != SCHEMA:
        raise InvalidCompiled(f"schema {schema} is newer than this process understands ({SCHEMA}): upgrade this host")
    return Revision(revision), body
