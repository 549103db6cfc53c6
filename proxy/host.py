"""A host of the mesh: what runs here and what is known, turned into what its engine serves.

`Host` owns no socket. It holds this host's registrations, ports and checks, hears of the mesh, of certificates and of the
engine, and after every change builds the snapshot anew and offers it: changes within `GATHER` are one snapshot. It is also
the `Registrar` behind the HTTP API (`proxy.registrar`), which changes registrations through `register`, `remove` and `drain`.

Nothing it does at start may take away what a running engine serves: the first snapshot waits for the store's first listing,
or falls back on the disk's last view where that is not older than what the engine serves; without either it is offered only to
an engine that serves nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol as Interface

from policy import compiled
from policy.rollout import Ack
from proxy.acks import acknowledge
from proxy.credentials import Change, Forgotten, Identity, Trust
from proxy.engine import Credential, Desired, EngineClient
from proxy.engine import Trust as EngineTrust
from proxy.follow import Published
from proxy.health import Checks, Health, Target
from proxy.mesh import Mesh
from proxy.neighbourhood import TRUST_STORE_FOR, Neighbourhood, added
from proxy.registrations import Kept, Key, Registrations
from proxy.snapshot import Edge, HostFacts, Local, Memory, OpenPort, Rules, build
from proxy.upstream_ports import UpstreamPorts
from registry import keys
from registry.model import Endpoint, Instance, Protocol, Source
from registry.names import ServiceName, SpiffeId
from registry.records import encode_instance
from registry.registration import Registration

logger = logging.getLogger(__name__)

GATHER = 0.01
LOOK_AGAIN = 10.0
FIRST_LISTING = 3.0
FIRST_HEARING = 3.0


class EdgeRole(Interface):
    """What the gateway role adds to a host."""

    @property
    def name(self) -> str:
        """Which gateway."""
        ...

    def edge(self, gateways: Mapping[str, compiled.Gateway]) -> Edge | None:
        """Its part of the snapshot, or None where no document says anything of it yet."""
        ...


class Announcer(Interface):
    """Where this host's own keys are told to others."""

    def tell(self, key: str, value: bytes) -> None:
        """Keep this key as it is here, until told otherwise."""
        ...

    def bury(self, key: Key) -> None:
        """Replace the instance's key by its tombstone."""
        ...


class LocalPolicy(Interface):
    """Where policy comes from on a host that never held a view of a mesh."""

    @property
    def published(self) -> Published:
        """What is in force."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where and what this host is, as configured."""

    name: str
    zone: str
    advertise: str
    inbound: str
    open: OpenPort | None = None


class Host:
    """One host. Everything here runs on one event loop; methods without `async` change state and return."""

    def __init__(
        self,
        place: Place,
        *,
        registrations: Registrations,
        ports: UpstreamPorts,
        mesh: Mesh,
        engine: EngineClient,
        wanted: Callable[[frozenset[SpiffeId]], None],
        domain: Callable[[], tuple[str, str] | None],
        announcer: Announcer,
        has_store: bool,
        role: EdgeRole | None = None,
        neighbours: Neighbourhood | None = None,
        local: LocalPolicy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.place = place
        self.registrations = registrations
        self.ports = ports
        self.mesh = mesh
        self.engine = engine
        self.checks = Checks(self._judged)
        self.role = role
        self._wanted = wanted
        self._domain = domain
        self._announcer = announcer
        self._has_store = has_store
        self._neighbours = neighbours
        self._local = local
        self._clock = clock
        self._memory = Memory()
        self._identities: dict[str, Identity] = {}
        self._poked = asyncio.Event()
        self._moved = asyncio.Event()
        self._version = 1

    def __repr__(self) -> str:
        return f"Host({self.place.name}, {self.registrations!r}, {self.mesh!r}, {self.engine!r})"

    @property
    def domain(self) -> tuple[str, str] | None:
        """Trust domain and datacenter, once known."""
        return self._domain()

    @property
    def published(self) -> Published:
        """The policy this host serves: the mesh's, or its own directory's where it never held a view of a mesh."""
        return self.mesh.published if self._local is None or self.mesh.source is not None else self._local.published

    @property
    def protocols(self) -> Mapping[ServiceName, Protocol]:
        """What every known service speaks."""
        heard = {} if self._neighbours is None or not self._hearsay_counts else self._neighbours.services
        return {**heard, **self.mesh.protocols}

    @property
    def _hearsay_counts(self) -> bool:
        stale = self.mesh.stale_since
        return not self._has_store or (stale is not None and self._clock() - stale > TRUST_STORE_FOR)

    @property
    def ack(self) -> Ack | None:
        """What the engine serves now; None until it serves something of ours."""
        served = self.engine.served
        if served is None:
            return None
        held = [
            identity
            for name, identity in self._identities.items()
            if (credential := self.engine.in_force(name)) is not None and credential.chain == identity.chain
        ]
        believed = self.engine.trusted
        domain = self._domain()
        return acknowledge(
            served,
            self.published.invalid,
            held,
            roots=() if believed is None or domain is None else believed.bundles.get(domain[0], ()),
            chains=self.engine.chains,
            notes=self.engine.notes,
        )

    def poke(self) -> None:
        """Something changed: build again soon, and tell whoever watches."""
        self._poked.set()
        self._version += 1
        self._moved.set()
        self._moved = asyncio.Event()

    async def changed(self, seen: int) -> int:
        """Return when anything changed since `seen`; the number to ask with next."""
        while self._version == seen:
            await self._moved.wait()
        return self._version

    def engine_changed(self) -> None:
        """The engine acked, refused, came or went."""
        for service in {service for service, _ in self.registrations.all}:
            if self.engine.in_force(str(service)) is not None and self.registrations.certify(service):
                self._tell(service)
        self.poke()

    def start(self) -> None:
        """Take up what the last life kept: checks, keys to announce, tombstones owed."""
        for kept in self.registrations.all.values():
            self._watch(kept)
            self._tell(kept.registration.service)
        for key in self.registrations.tombstones:
            self._announcer.bury(key)

    def register(self, registration: Registration, *, source: str = "api") -> bool:
        """Make it so; whether anything changed. Raises `PortTakenError`, `NoPortError`, before anything did."""
        for upstream in registration.upstreams:
            self.ports.port(registration.service, upstream.service, wanted=upstream.port)
        changed = self.registrations.put(registration, source=source)
        if changed:
            key = (registration.service, registration.id)
            self._watch(self.registrations.all[key])
            self._want()
            self._tell(registration.service)
            self.poke()
        return changed

    def remove(self, key: Key) -> bool:
        """End an instance; whether it was there."""
        if not self.registrations.remove(key):
            return False
        self.checks.forget(_name(key))
        self._announcer.bury(key)
        self._want()
        self.poke()
        return True

    def drain(self, key: Key) -> bool:
        """Take an instance out of rotation; whether that is new."""
        if not self.registrations.drain(key):
            return False
        self._tell(key[0])
        self.poke()
        return True

    def instance(self, kept: Kept) -> Instance:
        """What is told of an instance."""
        return kept.instance(host=self.place.name, address=self.place.inbound)

    def upstreams(self, registration: Registration) -> Mapping[ServiceName, int]:
        """Where an instance finds its upstreams."""
        return {
            upstream.service: self.ports.port(registration.service, upstream.service, wanted=upstream.port)
            for upstream in registration.upstreams
        }

    def endpoints(self, service: ServiceName) -> Iterable[Endpoint]:
        """What others have registered of a service, or this host in an earlier life; and those heard of, while they count."""
        known = self.mesh.endpoints(service)
        if self._neighbours is None or not self._hearsay_counts:
            return known
        return added(known, self._neighbours.endpoints(service))

    def hear(self, change: Change) -> None:
        """A certificate, its end, or whom to believe: the engine is told."""
        match change:
            case Identity():
                name = identity_name(change.id)
                self._identities[name] = change
                self.engine.identify(name, Credential(change.chain, change.key))
            case Forgotten(id_):
                self._identities.pop(identity_name(id_), None)
                self.engine.forget(identity_name(id_))
            case Trust(bundles, revoked):
                self.engine.trust(EngineTrust(bundles, revoked))

    async def run(self) -> None:
        """Build and offer after every change, for ever."""
        await self._ready()
        while True:
            self._poked.clear()
            self._want()
            self._offer()
            for key in self.registrations.expired():
                logger.warning("an instance without a passing check is forgotten", extra={"instance": _name(key)})
                self.remove(key)
            try:
                async with asyncio.timeout(LOOK_AGAIN):
                    await self._poked.wait()
                await asyncio.sleep(GATHER)
            except TimeoutError:
                pass  # presence ends by time alone

    async def _ready(self) -> None:
        """Until a snapshot can be built that takes nothing away."""
        if self._has_store:
            try:
                async with asyncio.timeout(FIRST_LISTING):
                    await self.mesh.listed.wait()
            except TimeoutError:
                logger.warning("the store does not answer", extra={"source": str(self.mesh.source)})
        elif self._neighbours is not None and (self.engine.welcome is None or self.engine.welcome.base != 0):
            await asyncio.sleep(FIRST_HEARING)
        while not self._may_offer():
            self._poked.clear()
            await self._poked.wait()

    def _may_offer(self) -> bool:
        """Whether what is known is at least what the engine was told before."""
        mesh, welcome = self.mesh, self.engine.welcome
        if not self._has_store or mesh.source is Source.ETCD:
            return True
        if welcome is None:
            return False
        if mesh.source is Source.DISK:
            return welcome.policy <= mesh.published.revision and welcome.registry <= int(mesh.view.revision)
        return welcome.base == 0

    def _offer(self) -> None:
        domain = self.domain
        if domain is None or not self.mesh.settled:
            return
        facts = HostFacts(self.place.name, self.place.zone, *domain, self.place.inbound, self.place.open)
        published = self.published
        locals_ = [
            Local(self.instance(kept), self.upstreams(kept.registration)) for kept in self.registrations.all.values()
        ]
        snapshot = build(
            facts,
            locals_,
            self.endpoints,
            Rules(published.services, published.mesh),
            protocols=self.protocols,
            edge=None if self.role is None else self.role.edge(published.gateways),
            kept=self._memory,
        )
        if self._neighbours is not None:
            self._neighbours.announce(domain[0], [local.instance for local in locals_])
        self.engine.offer(Desired(snapshot, published.revision, int(self.mesh.view.revision)))

    def _want(self) -> None:
        domain = self.domain
        if domain is None:
            return
        wanted = {SpiffeId.of_service(*domain, service) for service, _ in self.registrations.all}
        if self.place.open is not None:
            wanted.add(SpiffeId.of_service(*domain, self.place.open.caller))
        if self.role is not None:
            wanted.add(SpiffeId.of_gateway(*domain, self.role.name))
        self._wanted(frozenset(wanted))

    def _watch(self, kept: Kept) -> None:
        registration = kept.registration
        self.checks.watch(_name(kept.key), Target(registration.port, registration.check), known=kept.state)

    def _judged(self, name: str, health: Health) -> None:
        service, _, instance = name.rpartition("/")
        key = (ServiceName.parse(service), instance)
        if self.registrations.judged(key, health.state, health.why):
            logger.info(
                "an instance's state changed", extra={"instance": name, "state": health.state.value, "why": health.why}
            )
            self._tell(key[0])
            self.poke()

    def _tell(self, service: ServiceName) -> None:
        for key, kept in self.registrations.all.items():
            if key[0] == service:
                self._announcer.tell(keys.instance(*key), encode_instance(self.instance(kept)))


def identity_name(identity: SpiffeId) -> str:
    """What an engine calls it: `ns/service` or `gateway:<name>`."""
    service = identity.service
    return f"gateway:{identity.last}" if service is None else str(service)


def _name(key: Key) -> str:
    return f"{key[0]}/{key[1]}"
