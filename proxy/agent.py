"""The agent of a host: its parts put together, each a task, until SIGTERM.

A stop leaves everything as it is: the engine serves on, registrations stay under the host's lease, which the next life of
this agent adopts. Only a program that asks to be drained or deregistered is.

How it fails: a configuration that cannot be used, an address that would have to be guessed, a state directory that another
agent holds: `main` raises before anything is touched. Later, nothing that a neighbour does (store, controllers, engine,
programs) ends it.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgpack

from policy.compile import ServiceFacts
from policy.rollout import Ack
from proxy import addresses
from proxy.acks import Told, due
from proxy.announcer import Announcer
from proxy.config import Config, Etcd, join_address, load
from proxy.engine import EngineClient
from proxy.frames import Event
from proxy.host import EdgeRole, Host, Place
from proxy.identity import Identities
from proxy.identity_files import FileIdentities
from proxy.keep import read_file, replace_file
from proxy.local_policy import LocalPolicies
from proxy.mesh import Mesh
from proxy.neighbourhood import Neighbourhood
from proxy.ports import PortClaims
from proxy.reconcile import follow_files
from proxy.registrar import HostRegistrar
from proxy.registrations import Key, Registrations
from proxy.serve import listen, serve
from proxy.snapshot import OpenPort, Snapshot
from proxy.upstream_ports import UpstreamPorts
from registry import keys
from registry.api import application
from registry.etcd import EtcdConfig, EtcdStore
from registry.model import Host as HostRecord
from registry.names import ServiceName
from registry.pki.trust import fingerprint
from registry.records import encode_host
from registry.session import lease_id

logger = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
VERSION = "0.1.0"


class AgentRunningError(Exception):
    """Another agent holds the state directory."""

    code = "agent_running"


class Role(EdgeRole, Protocol):
    """What makes a host something more than a host: the gateway."""

    async def run(self, engine: EngineClient) -> None:
        """Its own work, for ever."""
        ...


def main(config_path: Path) -> None:
    """Run a host's agent until SIGTERM or SIGINT; raises `InvalidConfig`, `InvalidAdvertise`, `AgentRunningError`."""
    run(load(config_path))


def run(config: Config, *, role: Callable[[Config, str], Role] | None = None) -> None:
    """The same, of a configuration that was read, perhaps in a further role."""
    asyncio.run(_until_stopped(config, role))


async def _until_stopped(config: Config, role: Callable[[Config, str], Role] | None) -> None:
    advertise = addresses.choose(config.advertise, addresses.candidates())
    running = asyncio.create_task(serve_host(config, advertise, None if role is None else role(config, advertise)))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running
    logger.info("agent stopped", extra={"host": config.host})


async def serve_host(config: Config, advertise: str, role: Role | None = None) -> None:
    """One life of an agent, until cancelled; raises `AgentRunningError`."""
    with _held(config.state_dir):
        await _run_parts(config, advertise, role)


async def _run_parts(config: Config, advertise: str, role: Role | None) -> None:
    async with asyncio.TaskGroup() as tasks:
        parts = _Parts(config, advertise, role)
        sockets = listen(config.api.listen, config.api.socket)
        logger.info("agent started", extra={"host": config.host, "advertise": advertise, "api": config.api.listen})
        parts.host.start()
        tasks.create_task(serve(application(parts.registrar), sockets))
        tasks.create_task(parts.host.run())
        tasks.create_task(parts.engine.run())
        tasks.create_task(parts.hear())
        tasks.create_task(parts.acknowledge())
        tasks.create_task(parts.identities.run())
        if config.etcd is not None:
            tasks.create_task(parts.follow(config.etcd))
        if parts.neighbours is not None:
            tasks.create_task(parts.neighbours.run())
        if parts.local is not None:
            tasks.create_task(parts.local.run())
        if config.services is not None:
            tasks.create_task(follow_files(config.services.dir, parts.host, parts.registrar))
        if role is not None:
            tasks.create_task(role.run(parts.engine))


class _Parts:
    """The parts of one agent, and the tasks that are nobody's own."""

    def __init__(self, config: Config, advertise: str, role: Role | None) -> None:
        state = config.state_dir
        self._config = config
        self._accepted = state / "accepted.msgpack"
        self._identity = _HostIdentity.of(state)
        self.announcer = Announcer(clock=time.time, changed=self._poke, buried=self._buried)
        self.mesh = Mesh(state / "view.msgpack", clock=time.time, changed=self._mesh_changed)
        self.engine = EngineClient(
            config.engine.socket,
            agent=f"{config.host} {VERSION}",
            changed=self._engine_changed,
            accepted=_read_accepted(self._accepted),
            events=_note,
        )
        self.identities = _identities(config, self._poke)
        self.neighbours = _neighbourhood(config, advertise, self._domain, self._poke)
        self.local = _local_policies(config, self._facts, self._poke)
        self.host = Host(
            Place(
                name=config.host,
                zone=config.zone,
                advertise=advertise,
                inbound="" if role is not None else join_address(advertise, config.inbound.port),
                open=_open_port(config),
            ),
            registrations=Registrations(state / "registrations.json", boot_id=self._identity.boot_id, clock=time.time),
            ports=UpstreamPorts(state / "upstream_ports.json", PortClaims()),
            mesh=self.mesh,
            engine=self.engine,
            wanted=self.identities.want,
            domain=self._domain,
            announcer=self.announcer,
            has_store=config.etcd is not None,
            role=role,
            neighbours=self.neighbours,
            local=self.local,
        )
        self.registrar = HostRegistrar(
            self.host, self.announcer, root="/weft/" if config.etcd is None else config.etcd.root
        )
        self._record = HostRecord(
            name=config.host,
            boot_id=self._identity.boot_id,
            addresses=(advertise,),
            zone=config.zone,
            versions={"agent": VERSION},
            owner=self._identity.owner,
        )

    async def hear(self) -> None:
        """Hand certificates and trust on to the engine."""
        async for change in self.identities.changes():
            self.host.hear(change)
            self.host.poke()

    async def follow(self, etcd: Etcd) -> None:
        """Follow the store and write to it what is ours."""
        store = await EtcdStore.connect(_etcd(etcd))
        lease = lease_id(etcd.root, self._config.host, self._identity.boot_id, self._identity.owner)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.mesh.run(store))
            tasks.create_task(self.announcer.run(store, self.mesh, self._record, lease=lease, ttl=etcd.lease_ttl))

    async def acknowledge(self) -> None:
        """Say what the engine serves, when there is a reason to; keep what it has instead of what it refused."""
        told, seen, kept = Told(), 0, dict(self.engine.refused)
        while True:
            seen = await self.host.changed(seen)
            if self.engine.welcome is not None and self.engine.refused != kept:
                kept = dict(self.engine.refused)
                replace_file(self._accepted, msgpack.packb(kept, use_bin_type=True))
            ack, barriers = self._ack(), self.mesh.barriers
            if ack is None:
                continue
            wait = due(told, ack, barriers, now=time.monotonic())
            if wait is None:
                continue
            await asyncio.sleep(wait)
            ack = self._ack() or ack
            self.announcer.tell(keys.ack(self._config.host), ack.encode(), again=barriers > told.barriers)
            told = Told(ack, time.monotonic(), barriers)

    def _ack(self) -> Ack | None:
        """What the engine serves, and under which roots anything of this host stands, its own certificate included."""
        ack = self.host.ack
        if ack is None or not isinstance(self.identities, Identities):
            return ack
        own = {fingerprint(root) for root in self.identities.under}
        return replace(ack, under=tuple(sorted({*ack.under, *own})))

    def _facts(self) -> Mapping[ServiceName, ServiceFacts]:
        """What compiling a directory needs to know of the services this host knows or runs."""
        own = {kept.registration.service: kept.registration.protocol for kept in self.host.registrations.all.values()}
        return {name: ServiceFacts(protocol) for name, protocol in {**self.host.protocols, **own}.items()}

    def _domain(self) -> tuple[str, str] | None:
        """Trust domain and datacenter: of the mesh in the store, of the one joined, or as configured."""
        for found in (self.mesh.layout, self.identities.mesh):
            if found is not None:
                return found.trust_domain, found.datacenter
        configured = self._config.trust_domain, self._config.datacenter
        return configured if all(configured) else None

    def _buried(self, key: Key) -> None:
        self.host.registrations.buried(key)

    def _poke(self) -> None:
        self.host.poke()

    def _mesh_changed(self) -> None:
        self.announcer.look()
        if isinstance(self.identities, Identities):
            self.identities.follow(self.mesh.roots, self.mesh.revoked, signing=self.mesh.signing)
        self.host.poke()

    def _engine_changed(self) -> None:
        welcome = self.engine.welcome
        if welcome is not None and self._record.versions.get("engine") != welcome.version:
            self._record = replace(self._record, versions={"agent": VERSION, "engine": welcome.version})
            self.announcer.tell(keys.host(self._config.host), encode_host(self._record))
        self.host.engine_changed()


def _identities(config: Config, moved: Callable[[], None]) -> Identities | FileIdentities:
    """From controllers, or from files where none is configured."""
    if not config.controllers.urls:
        return FileIdentities(config.state_dir / "identity")
    return Identities(
        state_dir=config.state_dir,
        host=config.host,
        controllers=config.controllers.urls,
        token_file=config.controllers.token_file,
        moved=moved,
    )


@dataclass(frozen=True, slots=True)
class _HostIdentity:
    """What tells this life of this host from its other lives, and from a copy of its disk."""

    boot_id: str
    owner: str

    @classmethod
    def of(cls, state: Path) -> _HostIdentity:
        path = state / "owner"
        kept = read_file(path)
        if kept is None:
            kept = uuid.uuid4().hex.encode()
            replace_file(path, kept)
        return cls(BOOT_ID.read_text().strip(), kept.decode())


def _note(event: Event) -> None:
    logger.info("engine event", extra={"kind": event.kind, **event.fields})


def _neighbourhood(
    config: Config, advertise: str, domain: Callable[[], tuple[str, str] | None], changed: Callable[[], None]
) -> Neighbourhood | None:
    """Who is heard by multicast DNS, where that is switched on; on the advertised address unless others are named."""
    if not config.mdns.enabled:
        return None
    interfaces = config.mdns.interfaces or (advertise,)
    return Neighbourhood(host=config.host, zone=config.zone, interfaces=interfaces, domain=domain, changed=changed)


def _local_policies(
    config: Config, services: Callable[[], Mapping[ServiceName, ServiceFacts]], changed: Callable[[], None]
) -> LocalPolicies | None:
    """Policy from a directory; the host uses it only as long as it never held a view of a mesh."""
    if config.policies is None:
        return None
    return LocalPolicies(config.policies.dir, services=services, changed=changed)


def _read_accepted(path: Path) -> Snapshot:
    content = read_file(path)
    return {} if content is None else dict(msgpack.unpackb(content, raw=False))


def _etcd(etcd: Etcd) -> EtcdConfig:
    return EtcdConfig(
        endpoints=etcd.endpoints,
        root=etcd.root,
        ca_file=etcd.ca_file,
        cert_file=etcd.cert_file,
        key_file=etcd.key_file,
        username=etcd.username,
        password_file=etcd.password_file,
    )


@contextmanager
def _held(state: Path) -> Iterator[None]:
    """The state directory, ours alone; raises `AgentRunningError`."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise AgentRunningError(
            f"another agent runs with state_dir {state}: stop it, or give this one its own"
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


def _open_port(config: Config) -> OpenPort | None:
    if config.outbound is None:
        return None
    return OpenPort(config.outbound.listen, ServiceName.parse(config.outbound.caller))
