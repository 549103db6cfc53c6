"""The host behind the registration API: checks what is asked against what is known, and says what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from proxy.host import Host
from proxy.ports import NoPortError
from proxy.registrations import Kept, Key, of_service
from proxy.upstream_ports import PortTakenError
from registry import keys
from registry.model import Endpoint, Presence, Source, State
from registry.model import Protocol as Spoken
from registry.names import ServiceName, SpiffeId
from registry.registrar import ConflictError, Known, Registered, UpstreamAddress
from registry.registration import Problem, Registration

STORED_WITHIN = 2.0


class Stored(Protocol):
    """Whether the store has what this host tells."""

    async def stored(self, key: str) -> int | None:
        """The revision at which the store took the key's present value or tombstone; None while it cannot be reached."""
        ...

    def revision(self, key: str) -> int | None:
        """The same, without waiting."""
        ...


class HostRegistrar:
    """`registry.registrar.Registrar` over a host."""

    def __init__(self, host: Host, store: Stored, *, root: str, clock: Callable[[], float] = time.time) -> None:
        self._host = host
        self._store = store
        self._root = root
        self._clock = clock

    async def register(self, registration: Registration) -> Registered:
        """Make it so; raises `ConflictError`."""
        key = (registration.service, registration.id)
        created = key not in self._host.registrations.all
        changed = self.accept(registration)
        revision = await self._stored(key)
        return self._registered(self._host.registrations.all[key], revision, changed=changed, created=created)

    def accept(self, registration: Registration, *, source: str = "api") -> bool:
        """Make it so, on this host's own disk; whether anything changed. Raises `ConflictError`."""
        self._agrees(registration)
        try:
            return self._host.register(registration, source=source)
        except PortTakenError as error:
            wanted = [index for index, one in enumerate(registration.upstreams) if one.port == error.port]
            path = f"upstreams[{wanted[0]}].port" if wanted else "upstreams"
            fix = "ask for another port, or leave it out and use the one in the answer"
            raise ConflictError(Problem("port_taken", path, str(error), "a free port", fix)) from error
        except NoPortError as error:
            fix = "deregister services that are gone"
            raise ConflictError(Problem("no_port", "upstreams", str(error), "a free port", fix)) from error

    async def deregister(self, service: ServiceName, instance: str) -> Registered | None:
        """End it, with a tombstone."""
        key = (service, instance)
        kept = self._host.registrations.all.get(key)
        if kept is None:
            return None
        self._host.remove(key)
        return self._registered(kept, await self._stored(key), changed=True)

    async def drain(self, service: ServiceName, instance: str) -> Registered | None:
        """Take it out of rotation."""
        key = (service, instance)
        if key not in self._host.registrations.all:
            return None
        changed = self._host.drain(key)
        return self._registered(self._host.registrations.all[key], await self._stored(key), changed=changed)

    def beat(self, service: ServiceName, instance: str) -> bool:
        """A program says it works."""
        return self._host.checks.beat(f"{service}/{instance}")

    def instance(self, service: ServiceName, instance: str) -> Registered | None:
        """An instance of this host."""
        kept = self._host.registrations.all.get((service, instance))
        if kept is None:
            return None
        return self._registered(kept, self._store.revision(keys.instance(service, instance)))

    def known(self) -> Known:
        """Services and endpoints: of this host its own list, of others what the registry says."""
        mesh = self._host.mesh
        kept = self._host.registrations.all.values()
        names = {*mesh.protocols, *(one.registration.service for one in kept)}
        found = {name: self._endpoints(name) for name in names}
        return Known(
            revision=int(mesh.view.revision),
            source="local" if mesh.source is None else mesh.source.value,
            age=0.0 if mesh.stale_since is None else max(0.0, self._clock() - mesh.stale_since),
            services={name: endpoints for name, endpoints in found.items() if endpoints},
            protocols=self._protocols(),
        )

    async def changed(self, seen: int) -> int:
        """Return when `known` may differ."""
        return await self._host.changed(seen)

    def status(self) -> Mapping[str, object]:
        """This host, for people and for `weft status`."""
        host = self._host
        welcome, served, domain = host.engine.welcome, host.engine.served, host.domain
        mesh = host.mesh
        return {
            "host": host.place.name,
            "zone": host.place.zone,
            "advertise": host.place.advertise,
            "inbound": host.place.inbound,
            "gateway": None if host.role is None else host.role.name,
            "trust_domain": domain and domain[0],
            "datacenter": domain and domain[1],
            "source": "local" if mesh.source is None else mesh.source.value,
            "objection": mesh.objection,
            "stale_since": mesh.stale_since,
            "registry": int(mesh.view.revision),
            "policy": mesh.published.revision,
            "engine": {
                "connected": welcome is not None,
                "version": None if welcome is None else welcome.version,
                "pid": None if welcome is None else welcome.pid,
                "generation": None if served is None else served.generation,
                "policy": None if served is None else served.policy,
                "registry": None if served is None else served.registry,
                "refused": [
                    {"section": one.section, "code": one.code, "path": one.path, "message": one.message}
                    for one in (served.refused if served is not None else ())
                ],
            },
            "certificates": {} if host.ack is None else {
                id_: {"serial": one.serial, "not_after": one.not_after} for id_, one in host.ack.certificates.items()
            },
            "instances": [
                {"service": str(kept.registration.service), "id": kept.registration.id, "state": kept.told[0].value}
                | {"why": kept.told[1], "source": kept.source}
                for kept in host.registrations.all.values()
            ],
        }  # fmt: skip

    def gauges(self) -> Mapping[str, float]:
        """Names and values for `/metrics`."""
        host = self._host
        states = [kept.told[0] for kept in host.registrations.all.values()]
        served = host.engine.served
        counts = {f'weft_agent_instances{{state="{state.value}"}}': float(states.count(state)) for state in State}
        return {
            **counts,
            "weft_agent_engine_connected": float(host.engine.welcome is not None),
            "weft_agent_engine_generation": float(0 if served is None else served.generation),
            "weft_agent_engine_refused_sections": float(0 if served is None else len(served.refused)),
            "weft_agent_policy_revision": float(host.mesh.published.revision),
            "weft_agent_registry_revision": float(host.mesh.view.revision),
        }

    async def _stored(self, key: Key) -> int | None:
        if self._host.mesh.stale_since is not None or self._host.mesh.objection:
            return self._store.revision(keys.instance(*key))
        try:
            async with asyncio.timeout(STORED_WITHIN):
                return await self._store.stored(keys.instance(*key))
        except TimeoutError:
            return None

    def _registered(
        self, kept: Kept, revision: int | None, *, changed: bool = False, created: bool = False
    ) -> Registered:
        wanted = kept.registration
        state, why = kept.told
        domain = self._host.domain
        ports = self._host.upstreams(wanted)
        return Registered(
            key=self._root + keys.instance(wanted.service, wanted.id),
            revision=revision or 0,
            stored="disk" if revision is None else "etcd",
            state=state,
            why=why,
            identity="" if domain is None else str(SpiffeId.of_service(*domain, wanted.service)),
            upstreams={
                _short(upstream, wanted.service): UpstreamAddress(
                    f"{self._scheme(upstream)}://127.0.0.1:{port}", bool(self._endpoints(upstream))
                )
                for upstream, port in ports.items()
            },
            changed=changed,
            created=created,
        )

    def _scheme(self, upstream: ServiceName) -> str:
        """How the upstream is spoken to; http while nobody knows it."""
        return "tcp" if self._protocols().get(upstream) is Spoken.TCP else "http"

    def _protocols(self) -> Mapping[ServiceName, Spoken]:
        """What every known service speaks; of this host's own their registrations say it."""
        kept = self._host.registrations.all.values()
        return {**self._host.protocols, **{one.registration.service: one.registration.protocol for one in kept}}

    def _endpoints(self, service: ServiceName) -> tuple[Endpoint, ...]:
        host = self._host
        own = [self._own(kept) for kept in of_service(host.registrations.all.values(), service)]
        others = [endpoint for endpoint in host.endpoints(service) if endpoint.host != host.place.name]
        return tuple(sorted([*own, *others], key=lambda one: (one.host, one.instance)))

    def _own(self, kept: Kept) -> Endpoint:
        instance = self._host.instance(kept)
        stored = self._store.revision(keys.instance(*kept.key)) is not None
        return Endpoint(
            service=instance.service,
            instance=instance.id,
            host=instance.host,
            address=instance.address,
            port=instance.port,
            protocol=instance.protocol,
            state=instance.state,
            presence=Presence.CONFIRMED,
            source=Source.ETCD if stored else Source.LOCAL,
            weight=instance.weight,
            zone=self._host.place.zone,
            version=instance.version,
            labels=instance.labels,
        )

    def _agrees(self, registration: Registration) -> None:
        """Raises `ConflictError` where the registration contradicts what is there."""
        host = self._host
        if host.role is not None:
            fix = "register it with the agent of an ordinary host"
            raise ConflictError(Problem("gateway_host", "", "a gateway's host", "a host that runs services", fix))
        service = registration.service
        others = [endpoint for endpoint in self._endpoints(service) if _other(endpoint, host, registration)]
        for endpoint in others:
            if endpoint.protocol is not registration.protocol:
                fix = f"{service} is {endpoint.protocol.value}, as {endpoint.instance} on {endpoint.host} says: use that, or another service name"
                found = repr(registration.protocol.value)
                raise ConflictError(Problem("protocol_conflict", "protocol", found, repr(endpoint.protocol.value), fix))
            if endpoint.instance == registration.id and endpoint.presence is Presence.CONFIRMED:
                found = f"{registration.id}, which runs on {endpoint.host}"
                fix = "choose another id: an id names one instance of a service in the whole mesh"
                raise ConflictError(Problem("instance_taken", "instance", found, "an id of its own", fix))


def _other(endpoint: Endpoint, host: Host, registration: Registration) -> bool:
    return (endpoint.host, endpoint.instance) != (host.place.name, registration.id)


def _short(upstream: ServiceName, caller: ServiceName) -> str:
    return upstream.name if upstream.namespace == caller.namespace else str(upstream)
