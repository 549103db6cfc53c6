"""What one engine needs, built from what is known: PURE.

Facts of the host, its own instances, endpoints of the registry and compiled rules go in; a `Snapshot` comes out: a mapping
of section name to bytes. Included are the services this host runs, the upstreams they declare, what a gateway's routes
name, and whatever the routes of all these send to. A host without any instance still has its inbound listener.

Of its own instances the host itself is the truth: what the registry says of them (an echo, or what an earlier life wrote)
is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from policy.compiled import Forward, Mesh, Route, Service
from proxy import sections
from proxy.kept import Kept
from registry.model import Endpoint, Instance, Presence, Protocol, State
from registry.names import InvalidName, ServiceName
from registry.records import is_address

Snapshot = Mapping[str, bytes]


OPEN_SERVICES = 500
OPEN_ENDPOINTS = 20_000
"""Of others' services, so many are there for the open port: those beyond are `no_route`, in the order of their names."""


@dataclass(frozen=True, slots=True)
class OpenPort:
    """Where a request's host names the service, `ip:port`, and as whom everybody calls there."""

    address: str
    caller: ServiceName


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host is. `inbound` is `ip:port`, or empty where it accepts no mesh traffic: a gateway's host."""

    name: str
    zone: str
    trust_domain: str
    datacenter: str
    inbound: str = ""
    open: OpenPort | None = None


@dataclass(frozen=True, slots=True)
class Local:
    """An instance of this host and where it finds its upstreams: service to port on loopback."""

    instance: Instance
    upstreams: Mapping[ServiceName, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """Compiled policy as of one revision."""

    services: Mapping[ServiceName, Service] = field(default_factory=dict)
    mesh: Mesh = field(default_factory=Mesh)


@dataclass(frozen=True, slots=True)
class Edge:
    """The part of a snapshot that a gateway adds: its listeners by section name, and its section."""

    name: str
    listeners: Mapping[str, sections.Listener]
    gateway: sections.Gateway


@dataclass(frozen=True, slots=True)
class Diff:
    """What turns one snapshot into another."""

    set: Mapping[str, bytes]
    delete: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.set or self.delete)


class Memory:
    """What one build keeps for the next."""

    def __init__(self) -> None:
        self.bytes: Kept[bytes] = Kept()
        self.targets: Kept[set[ServiceName]] = Kept()
        self._host: HostFacts | None = None
        self._small: dict[str, object] = {}
        self._made: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"Memory({self.bytes!r})"

    def host(self, facts: HostFacts) -> HostFacts:
        """Equal facts as the same object."""
        if self._host is None or self._host != facts:
            self._host = facts
        return self._host

    def encoded(self, name: str, section: object) -> bytes:
        """The bytes of a section that is made anew every time, and mostly as it was."""
        same = self._small.get(name)
        section = same if same == section and same is not None else section
        self._made[name] = section
        return self.bytes.get(name, (section,), partial(sections.encode, section))

    def turn(self) -> None:
        """A build is over."""
        self._small, self._made = self._made, {}
        self.bytes.turn()
        self.targets.turn()


def build(
    host: HostFacts,
    locals_: Sequence[Local],
    endpoints: Callable[[ServiceName], Iterable[Endpoint]],
    rules: Rules,
    *,
    protocols: Mapping[ServiceName, Protocol],
    edge: Edge | None = None,
    kept: Memory | None = None,
) -> Snapshot:
    """The snapshot of a host. `endpoints` gives what the registry knows of a service, those that are gone left out.

    With `kept`, sections whose inputs are the objects of the build before are not made again.
    """
    memory = kept or Memory()
    small: dict[str, object] = {
        sections.HOST: sections.Host(host.name, host.zone, host.trust_domain, host.datacenter),
        **_listeners(host, locals_),
    }
    if edge is not None:
        small.update(edge.listeners)
        small[sections.gateway(edge.name)] = edge.gateway
    built = {name: memory.encoded(name, section) for name, section in small.items()}
    mine = _by_service(locals_)
    others = within_bounds(protocols, endpoints) if host.open is not None else ()
    for name in needed(locals_, rules, edge, others, memory=memory):
        own = mine.get(name, ())
        spoken = own[0].protocol if own else protocols.get(name, Protocol.HTTP)
        section, rule = sections.service(name), rules.services.get(name)
        built[section] = (
            memory.bytes.get(section, (rules.mesh, spoken), partial(_default, rules.mesh, name, spoken))
            if rule is None
            else memory.bytes.get(section, (rule, None), partial(sections.encode, rule))
        )
        section, known = sections.endpoints(name), endpoints(name)
        # Of its own instances the host makes new values every time; they are few.
        built[section] = (
            sections.encode(_endpoints(host, own, known))
            if own
            else memory.bytes.get(section, (known, memory.host(host)), partial(_encoded, host, known))
        )
    memory.turn()
    return {name: built[name] for name in sorted(built)}


def _default(mesh: Mesh, name: ServiceName, spoken: Protocol) -> bytes:
    return sections.encode(mesh.service(name.namespace, spoken.value))


def _encoded(host: HostFacts, known: Iterable[Endpoint]) -> bytes:
    return sections.encode(_endpoints(host, (), known))


def within_bounds(
    protocols: Mapping[ServiceName, Protocol], endpoints: Callable[[ServiceName], Iterable[Endpoint]]
) -> tuple[ServiceName, ...]:
    """The services that the open port leads to: all that take requests, as far as the bounds go."""
    found: list[ServiceName] = []
    room = OPEN_ENDPOINTS
    for name in sorted(name for name, spoken in protocols.items() if spoken is not Protocol.TCP):
        room -= sum(1 for _ in endpoints(name))
        if len(found) == OPEN_SERVICES or room < 0:
            break
        found.append(name)
    return tuple(found)


def needed(
    locals_: Iterable[Local],
    rules: Rules,
    edge: Edge | None = None,
    others: Iterable[ServiceName] = (),
    *,
    memory: Memory | None = None,
) -> tuple[ServiceName, ...]:
    """Every service that this host runs, calls, or may be sent to, in order."""
    memory = memory or Memory()
    waiting = {name for local in locals_ for name in (local.instance.service, *local.upstreams)}
    waiting.update(others)
    if edge is not None:
        waiting |= targets((*edge.gateway.routes, *edge.gateway.passthrough))
    found: set[ServiceName] = set()
    while waiting:
        name = waiting.pop()
        found.add(name)
        rule = rules.services.get(name)
        if rule is not None:
            waiting |= memory.targets.get(str(name), (rule,), partial(_led_to, rule)) - found
    return tuple(sorted(found))


def _led_to(rules: Service) -> set[ServiceName]:
    return targets(rules.routes) | failovers(rules)


def failovers(rules: Service) -> set[ServiceName]:
    """The services that requests go to where none of the service's own endpoints is in rotation."""
    return _named(rules.traffic.failover)


def targets(routes: Iterable[Route]) -> set[ServiceName]:
    """The services that routes forward to, or copy to."""
    found: set[ServiceName] = set()
    for route in routes:
        if isinstance(route.action, Forward):
            mirrored = [route.action.mirror.service] if route.action.mirror else []
            found |= _named([*(target.service for target in route.action.to), *mirrored])
    return found


def _named(names: Iterable[str]) -> set[ServiceName]:
    found: set[ServiceName] = set()
    for name in names:
        try:
            found.add(ServiceName.parse(name))
        except InvalidName:
            continue  # the engine refuses the section by its place, which says more than we could here
    return found


def diff(old: Snapshot, new: Snapshot) -> Diff:
    """What to send to an engine that has `old` so that it has `new`."""
    changed = {name: value for name, value in new.items() if old.get(name) != value}
    return Diff(set=changed, delete=tuple(sorted(old.keys() - new.keys())))


def _listeners(host: HostFacts, locals_: Iterable[Local]) -> dict[str, sections.Listener]:
    listeners: dict[str, sections.Listener] = {}
    if host.inbound:
        listeners[sections.INBOUND] = sections.Inbound(host.inbound)
    if host.open is not None:
        listeners[sections.OPEN] = sections.Open(host.open.address, str(host.open.caller))
    for local in locals_:
        caller = local.instance.service
        for upstream, port in local.upstreams.items():
            listeners[sections.outbound(caller, upstream)] = sections.Outbound(
                f"127.0.0.1:{port}", str(caller), str(upstream)
            )
    return listeners


def _by_service(locals_: Iterable[Local]) -> dict[ServiceName, tuple[Instance, ...]]:
    found: dict[ServiceName, tuple[Instance, ...]] = {}
    for local in locals_:
        found[local.instance.service] = (*found.get(local.instance.service, ()), local.instance)
    return found


def _endpoints(host: HostFacts, own: Iterable[Instance], known: Iterable[Endpoint]) -> sections.Endpoints:
    listed = [_local(host, instance) for instance in own]
    listed += [_remote(endpoint) for endpoint in known if endpoint.host != host.name and _usable(endpoint)]
    return sections.Endpoints(tuple(sorted(listed, key=lambda endpoint: (endpoint.host, endpoint.instance))))


def _local(host: HostFacts, instance: Instance) -> sections.Endpoint:
    return sections.Endpoint(
        instance=instance.id,
        host=host.name,
        address=instance.address,
        port=instance.port,
        weight=instance.weight,
        zone=host.zone,
        labels=_labels(instance.labels, instance.version),
        state=_state(instance.state),
    )


def _remote(endpoint: Endpoint) -> sections.Endpoint:
    return sections.Endpoint(
        instance=endpoint.instance,
        host=endpoint.host,
        address=endpoint.address,
        port=endpoint.port,
        weight=endpoint.weight,
        zone=endpoint.zone,
        labels=_labels(endpoint.labels, endpoint.version),
        state=_state(endpoint.state),
        suspect=endpoint.presence is Presence.SUSPECT,
    )


def _labels(labels: Mapping[str, str], version: str) -> Mapping[str, str]:
    return {**labels, "version": version} if version else labels


def _state(state: State) -> Literal["up", "drain", "down"]:
    match state:
        case State.UP:
            return "up"
        case State.DRAIN:
            return "drain"
        case State.STARTING | State.DOWN:
            return "down"


def _usable(endpoint: Endpoint) -> bool:
    """Whether an engine can connect there; a hint of another's making may hold anything, and must spoil nothing else."""
    return is_address(endpoint.address) and endpoint.presence is not Presence.GONE
