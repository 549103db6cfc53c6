"""A mesh on this machine, from an empty directory to one that answers.

Everything starts at once, because each part waits for what it needs by itself: etcd, the engines and the samples' hosts
come up while the certificate authority is being made. When all answer, `endpoints.json` is written.

How it fails: `MeshRunsError` where another `weft dev` holds the directory, `LongStatePathError`, `NoPortError`,
`MissingToolError`, and `DidNotStartError`, which names the process that does not answer and its log.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ops.dev import documents, tools
from ops.dev.http import ready
from ops.dev.layout import ADDRESS, GATEWAY, GATEWAY_HOST, HOST, ROOT, SOCKETS, TRUST_DOMAIN, Layout
from ops.dev.ports import claim_ports
from ops.dev.state import Endpoints, held, write_endpoints
from ops.dev.supervisor import Supervisor
from proxy.ports import PortClaims
from registry import keys
from registry.store import Store, StoreError

PATIENCE = 30.0
GIVEN_UP = 6  # deaths of a process that never answered
LOOK = 0.02
LONGEST_SOCKET = 107  # bytes: sun_path of unix(7), but for the zero at its end
TOKEN_LIFE = timedelta(hours=1)
ENTITLED = {HOST: ("*",), GATEWAY_HOST: (f"gateway:{GATEWAY}",)}


class DidNotStartError(Exception):
    """A process of the mesh does not answer."""

    code = "did_not_start"


class LongStatePathError(Exception):
    """The sockets of a mesh would have longer names than Unix sockets may have."""

    code = "state_path_too_long"


@dataclass(frozen=True, slots=True)
class Options:
    """What may be chosen of a mesh on this machine; lengths of time as in documents."""

    state: Path
    auto_ports: bool = False
    leaf_ttl: str = "72h"
    lease_ttl: str = "15s"


class DevMesh:
    """A mesh that runs, and its files. `upstreams` are told by whoever registers services."""

    def __init__(self, layout: Layout, supervisor: Supervisor, store: Store) -> None:
        self.layout = layout
        self.supervisor = supervisor
        self.store = store
        self.upstreams: dict[str, dict[str, str]] = {}
        self._published = False

    @property
    def agent(self) -> str:
        """The registration API."""
        return f"http://{ADDRESS}:{self.layout.ports.agent}"

    @property
    def gateway(self) -> str:
        """The gateway's plain port."""
        return f"http://{ADDRESS}:{self.layout.ports.gateway_http}"

    def endpoints(self) -> Endpoints:
        """What `endpoints.json` says now."""
        ports, pids, services = self.layout.ports, self.supervisor.pids, self.supervisor.services
        return {
            "etcd": self.layout.etcd_url,
            "root": ROOT,
            "agent": self.agent,
            "controller": f"http://{ADDRESS}:{ports.controller}",
            "gateway": {"http": self.gateway, "https": f"https://{ADDRESS}:{ports.gateway_https}"},
            "engine": {
                "metrics": f"http://{ADDRESS}:{ports.metrics}/metrics",
                "inbound": f"{ADDRESS}:{ports.inbound}",
            },
            "upstreams": self.upstreams,
            "pids": {
                **{name: pid for name, pid in pids.items() if name not in services},
                "services": {name: pid for name, pid in pids.items() if name in services},
            },
        }

    def publish(self) -> None:
        """Write `endpoints.json`, now and at every restart from now on."""
        self._published = True
        write_endpoints(self.layout.state, self.endpoints())

    def restarted(self) -> None:
        """A process was started again."""
        if self._published:
            self.publish()

    async def until_cancelled(self) -> None:
        """Until a signal ends the mesh."""
        await asyncio.Event().wait()

    async def answers(self) -> None:
        """Until every process does; raises `DidNotStartError`."""
        ports = self.layout.ports
        probes = {
            "controller": f"http://{ADDRESS}:{ports.controller}/healthz",
            "agent": f"{self.agent}/healthz",
            "gateway_agent": f"http://{ADDRESS}:{ports.gateway_agent}/healthz",
            "engine": f"http://{ADDRESS}:{ports.metrics}/ready",
            "gateway": f"http://{ADDRESS}:{ports.gateway_metrics}/ready",
        }
        async with asyncio.TaskGroup() as tasks:
            for name, url in probes.items():
                tasks.create_task(self._until_ready(name, url))

    async def _until_ready(self, name: str, url: str) -> None:
        end = time.monotonic() + PATIENCE
        while not await ready(url):
            if time.monotonic() > end or self.supervisor.deaths.get(name, 0) >= GIVEN_UP:
                raise self.silent(name, url)
            await asyncio.sleep(LOOK)

    def silent(self, name: str, url: str) -> DidNotStartError:
        """The error that names a process which does not answer."""
        died = self.supervisor.deaths.get(name, 0)
        how = f"it died {died} times" if died else "it runs"
        log = self.layout.state / "log" / f"{name}.log"
        return DidNotStartError(f"{name} does not answer at {url}: {how}; see the end of {log}")


@asynccontextmanager
async def running(options: Options) -> AsyncIterator[DevMesh]:
    """A mesh for as long as the scope lasts; every process of it is gone afterwards."""
    state = options.state
    too_long = max(len(os.fsencode(state / socket)) for socket in SOCKETS) - LONGEST_SOCKET
    if too_long > 0:
        raise LongStatePathError(f"{state} is {too_long} bytes too long to hold Unix sockets: choose a shorter --state")
    async with AsyncExitStack() as scope:
        scope.enter_context(held(state))
        engine, etcd = tools.find_engine(), tools.find_etcd()
        claims = scope.enter_context(PortClaims())
        layout = Layout(state, claim_ports(claims, auto=options.auto_ports), options.leaf_ttl, options.lease_ttl)
        for directory in layout.directories():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (state / "endpoints.json").unlink(missing_ok=True)
        for asked in (*(state / "hold").iterdir(), *(state / "replace").iterdir()):
            asked.unlink()
        for path, text in layout.configurations().items():
            path.write_text(text)
        specs = layout.processes(engine=engine, etcd=etcd, weft=tools.weft())
        mesh: DevMesh | None = None

        def changed() -> None:
            if mesh is not None:
                mesh.restarted()

        supervisor = await scope.enter_async_context(Supervisor(state, changed=changed))
        scope.callback((state / "endpoints.json").unlink, missing_ok=True)
        for name in ("etcd", "engine", "gateway"):
            await supervisor.run(specs[name])
        digest, public = _authority(layout)
        await supervisor.run(specs["controller"])
        store = await _connect(layout)
        scope.push_async_callback(store.close)
        mesh = DevMesh(layout, supervisor, store)
        await _until_store_answers(mesh)
        await _admit(store, layout, digest)
        await documents.put_gateway(store, documents.gateway(layout.ports, certificate=public[0], key=public[1]))
        await documents.put_defaults(store)
        for name in ("agent", "gateway_agent"):
            await supervisor.run(specs[name])
        routes = asyncio.create_task(_keep_routes(store))
        scope.callback(routes.cancel)
        await mesh.answers()
        yield mesh


def _authority(layout: Layout) -> tuple[str, tuple[Path, Path]]:
    """The development CA, made if need be: the digest of its root's key, and the gateway's public certificate."""
    from registry.pki import certificates
    from registry.pki.authority import Authority
    from registry.pki.commands import init_ca, init_controller_ca, make_public_certificate

    now = certificates.now_utc()
    if not (layout.ca / "root.pem").exists():
        init_ca(layout.ca, trust_domain=TRUST_DOMAIN, now=now)
    if not (layout.controller_ca / "intermediate.pem").exists():
        init_controller_ca(layout.controller_ca, root=layout.ca, name="dev", now=now)
    (layout.state / "ca.pem").write_bytes((layout.ca / "root.pem").read_bytes())
    hosts = ["localhost", "*.localhost", ADDRESS]
    return Authority.load(layout.ca).root_digest, make_public_certificate(
        layout.ca, layout.public, hosts=hosts, now=now
    )


async def _connect(layout: Layout) -> Store:
    from registry.etcd import EtcdConfig, EtcdStore

    return await EtcdStore.connect(EtcdConfig(endpoints=(layout.etcd_url,), root=ROOT))


async def _until_store_answers(mesh: DevMesh) -> None:
    end = time.monotonic() + PATIENCE
    while not await ready(f"{mesh.layout.etcd_url}/health"):
        if time.monotonic() > end or mesh.supervisor.deaths.get("etcd", 0) >= GIVEN_UP:
            raise mesh.silent("etcd", mesh.layout.etcd_url)
        await asyncio.sleep(LOOK)


async def _admit(store: Store, layout: Layout, digest: str) -> None:
    """A join token, in a file that only this user reads, for each host that has not joined yet."""
    from registry.pki import tokens
    from registry.pki.files import write_private

    for host, services in ENTITLED.items():
        if await store.get(keys.roster(host)) is None:
            token = await tokens.create(
                store, root_digest=digest, services=services, host=host, validity=TOKEN_LIFE, now=time.time()
            )
            write_private(layout.tokens[host], token.text.encode())


async def _keep_routes(store: Store) -> None:
    while True:
        try:
            await documents.keep_edge_routes(store)
        except StoreError:
            await asyncio.sleep(0.5)
