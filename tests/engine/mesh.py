"""A mesh of engines without agents: the test offers the sections and identities, with the client that agents use.

`web` calls `api` and `guarded` (a service whose Access looks at paths); all of them, and the gateway `edge`, are on the first
host unless a test places instances on others. Doors: web's own port for each upstream, the gateway's plain port, and the
inbound port over mutual TLS as web.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from policy.compiled import Access, Exact, Forward, Limit, Prefix, Route, Rule, Service, Target
from proxy import sections
from proxy.engine import Credential, Desired, EngineClient, Served, Trust
from proxy.ports import PortClaims
from registry.names import ServiceName, SpiffeId, server_name
from registry.pki import certificates
from registry.pki.authority import Authority, create
from tests.engine.application import Application
from tests.engine.client import Door
from tests.support.engine import EngineProcess

TRUST_DOMAIN, DATACENTER = "test.weft", "local"
WEB, API, GUARDED = (ServiceName("default", name) for name in ("web", "api", "guarded"))
WITHIN = 15.0

GUARD = Service(access=Access(default="deny", rules=(Rule("public", "allow", paths=(Prefix("/public"), Exact("/"))),)))


class Writer:
    """The agent's client in a thread of its own, and what an engine should serve."""

    def __init__(self, socket: Path) -> None:
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self.client = EngineClient(socket, agent="test", changed=self._notify)
        self._policy = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the engine alone; more than once is no error."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop)
            self._thread.join(WITHIN)

    def identify(self, credentials: Mapping[str, Credential], trust: Trust) -> None:
        """Hand over identities and trust; returns when the engine has them."""

        def hand() -> None:
            self.client.trust(trust)
            for name, credential in credentials.items():
                self.client.identify(name, credential)

        self._loop.call_soon_threadsafe(hand)
        self.wait(lambda: all(self.client.in_force(name) == one for name, one in credentials.items()))

    def trust(self, bundles: Mapping[str, tuple[bytes, ...]]) -> None:
        """Believe these from now on; returns without waiting."""
        self._loop.call_soon_threadsafe(self.client.trust, Trust(bundles, ()))

    def apply(self, snapshot: Mapping[str, object]) -> Served:
        """Offer sections; returns what is served when the engine has acked."""
        self._policy += 1
        encoded = {name: sections.encode(section) for name, section in snapshot.items()}
        self._loop.call_soon_threadsafe(self.client.offer, Desired(encoded, self._policy, 0))
        self.wait(lambda: self.client.served is not None and self.client.served.policy == self._policy)
        assert self.client.served is not None
        return self.client.served

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until it holds; what holds it up fails the test."""
        with self._changed:
            assert self._changed.wait_for(condition, WITHIN), f"not within {WITHIN} s: {self.client!r}"

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self.client.run())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()


@dataclass
class Host:
    """One engine with its writer and its inbound port."""

    name: str
    engine: EngineProcess
    writer: Writer
    inbound: int
    plain: dict[str, int]
    """Ports of the listeners, by what they are for."""


@dataclass
class Mesh:
    """Engines, applications, doors. `services` and `endpoints` are what `publish` sends."""

    authority: Authority
    hosts: list[Host]
    applications: dict[str, Application]
    """By instance."""
    services: dict[ServiceName, Service] = field(default_factory=dict)
    endpoints: dict[ServiceName, tuple[sections.Endpoint, ...]] = field(default_factory=dict)
    gateway_routes: tuple[Route, ...] = ()
    gateway_limits: tuple[Limit, ...] = ()
    gateway_trusts: tuple[str, ...] = ()
    zone: str = ""
    """The first host's."""

    @property
    def api(self) -> Application:
        """The instance of api that is always there."""
        return self.applications["api-1"]

    @property
    def engine(self) -> EngineProcess:
        """The caller's."""
        return self.hosts[0].engine

    def outbound(self, upstream: ServiceName = API) -> Door:
        """Web's own port for an upstream."""
        return Door("outbound", self.hosts[0].plain[upstream.name])

    def gateway(self) -> Door:
        """The public port."""
        return Door("gateway", self.hosts[0].plain["gateway"])

    def inbound(self, service: ServiceName = API, instance: str = "api-1", *, caller: ServiceName = WEB) -> Door:
        """The host's port for mesh traffic, as `caller`."""
        tls = self.context(caller)
        return Door("inbound", self.hosts[0].inbound, tls, server_name(service, instance, TRUST_DOMAIN))

    def context(self, caller: ServiceName) -> ssl.SSLContext:
        """A client's TLS with the certificate of a service."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=self.authority.root_pem)
        context.set_alpn_protocols(["http/1.1"])
        path = self.engine.socket.parent / f"{caller.name}.pem"
        if not path.exists():
            key = certificates.new_key()
            identity = SpiffeId.of_service(TRUST_DOMAIN, DATACENTER, caller)
            issued = self.authority.sign(
                key.public_key(), identity, now=certificates.now_utc(), life=timedelta(hours=1)
            )
            path.write_bytes(issued.chain_pem + certificates.key_pem(key))
        context.load_cert_chain(path)
        return context

    def endpoint(self, instance: str, *, host: int = 0) -> sections.Endpoint:
        """An instance at a host's inbound port."""
        at = self.hosts[host]
        port = self.applications[instance].port
        return sections.Endpoint(instance, at.name, f"127.0.0.1:{at.inbound}", port, 100, "", {}, "up")

    def snapshot(self, host: int = 0) -> dict[str, object]:
        """Everything one host serves."""
        at = self.hosts[host]
        found: dict[str, object] = {
            sections.HOST: sections.Host(at.name, self.zone if host == 0 else "", TRUST_DOMAIN, DATACENTER),
            sections.INBOUND: sections.Inbound(f"127.0.0.1:{at.inbound}"),
        }
        for service, rules in self.services.items():
            found[sections.service(service)] = rules
            found[sections.endpoints(service)] = sections.Endpoints(self.endpoints.get(service, ()))
        if host == 0:
            for upstream in (API, GUARDED):
                address = f"127.0.0.1:{at.plain[upstream.name]}"
                listener = sections.Outbound(address, str(WEB), str(upstream))
                found[sections.outbound(WEB, upstream)] = listener
            found[sections.gateway("edge")] = sections.Gateway(
                listeners={"web": sections.GatewayListener("http")},
                routes=self.gateway_routes,
                trust_forwarded_from=self.gateway_trusts,
                limits=self.gateway_limits,
            )
            found[sections.public("web")] = sections.Public(f"127.0.0.1:{at.plain['gateway']}", "edge", "web")
        return found

    def publish(self) -> None:
        """Serve what `services` and `endpoints` say, on every host; refused is a failure."""
        for number, host in enumerate(self.hosts):
            served = host.writer.apply(self.snapshot(number))
            assert served.refused == ()

    def reset(self) -> None:
        """As at the start of the mesh."""
        for application in self.applications.values():
            application.reset()
        self.gateway_routes, self.gateway_limits, self.gateway_trusts = GATEWAY_ROUTES, (), ()
        self.services = {WEB: Service(), API: Service(), GUARDED: GUARD}
        self.endpoints = {
            API: (self.endpoint("api-1"),),
            GUARDED: (self.endpoint("guarded-1"),),
        }
        self.publish()

    def metric(self, name: str, *labels: str, host: int = 0) -> float:
        """The sum of a metric's series that carry these labels, each written as `name="value"`."""
        with urllib.request.urlopen(f"http://{self.hosts[host].engine.admin}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = [line.rpartition(" ") for line in lines if line.partition("{")[0].partition(" ")[0] == name]
        return sum(float(value) for series, _, value in found if all(label in series for label in labels))

    def credentials(self) -> dict[str, Credential]:
        """An identity for everybody."""
        ids = {str(name): SpiffeId.of_service(TRUST_DOMAIN, DATACENTER, name) for name in (WEB, API, GUARDED)}
        ids["gateway:edge"] = SpiffeId.of_gateway(TRUST_DOMAIN, DATACENTER, "edge")
        return {name: self._credential(identity) for name, identity in ids.items()}

    def trust(self) -> Trust:
        """One root."""
        return Trust({TRUST_DOMAIN: (certificates.der(self.authority.root),)}, ())

    def _credential(self, identity: SpiffeId) -> Credential:
        key = certificates.new_key()
        issued = self.authority.sign(key.public_key(), identity, now=certificates.now_utc(), life=timedelta(hours=1))
        chain = tuple(certificates.der(one) for one in x509.load_pem_x509_certificates(issued.chain_pem))
        return Credential(chain, certificates.key_der(key))


def _to(service: ServiceName) -> Forward:
    return Forward(to=(Target(str(service)),))


GATEWAY_ROUTES = (
    Route("guarded/all", 0, _to(GUARDED), hosts=("guarded.test",)),
    Route("api/all", 1, _to(API)),
)


@contextmanager
def running(
    directory: Path, *, hosts: int = 1, instances: tuple[str, ...] = (), workers: int = 1, config: str = ""
) -> Iterator[Mesh]:
    """A mesh that serves. Further `instances` have an application, and a test says where they are.

    `config` is put behind the engines' own files.
    """
    with ExitStack() as stack:
        claims = stack.enter_context(PortClaims())
        mesh = Mesh(create(directory / "ca", trust_domain=TRUST_DOMAIN, now=certificates.now_utc()), [], {})
        for number in range(hosts):
            engine = EngineProcess(directory / f"h{number}", claims, workers=workers, config=config)
            engine.start()
            stack.callback(engine.kill)
            writer = stack.enter_context(Writer(engine.socket))
            plain = {name: claims.claim() for name in ("api", "guarded", "gateway")} if number == 0 else {}
            mesh.hosts.append(Host(f"host-{number}", engine, writer, claims.claim(), plain))
        for instance in ("api-1", "guarded-1", *instances):
            mesh.applications[instance] = Application()
            stack.callback(mesh.applications[instance].close)
        for host in mesh.hosts:
            # Identities belong to a realm, which the host section names.
            realm = sections.Host(host.name, "", TRUST_DOMAIN, DATACENTER)
            host.writer.apply({sections.HOST: realm})
            host.writer.identify(mesh.credentials(), mesh.trust())
        mesh.reset()
        yield mesh


def replaced(service: Service, **changes: object) -> Service:
    """The service with other traffic."""
    return replace(service, traffic=replace(service.traffic, **changes))  # type: ignore[arg-type]
