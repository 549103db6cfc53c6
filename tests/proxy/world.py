"""A host in the world: a real etcd, a controller over real TLS, and whatever engine listens on its socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import orjson

from policy import compiled
from policy.compiled import Gateway, Head, Service
from policy.rollout import Ack
from proxy import agent
from proxy.config import Config, parse
from proxy.ports import PortClaims
from registry import keys, layout
from registry.etcd import EtcdConfig, EtcdStore
from registry.model import Instance, State, Tombstone
from registry.names import ServiceName
from registry.records import decode_instance
from registry.store import Revision, Store
from tests.support.identity import MESH, Controller, answering, make_controller, write_token

API = ServiceName("default", "api")
KEY = keys.instance(API, "api-1")
URL = "/v1/services/api/instances/api-1"
HOST = "vm-1"


@dataclass
class World:
    """A host and everything around it."""

    directory: Path
    etcd: EtcdConfig
    store: Store
    controller: Controller
    config: Config
    role: Callable[[Config, str], agent.Role] | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """One life of the agent."""
        role = None if self.role is None else self.role(self.config, "127.0.0.1")
        self.tasks.append(asyncio.create_task(agent.serve_host(self.config, "127.0.0.1", role)))

    async def stop(self) -> None:
        """Its end."""
        task = self.tasks.pop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @asynccontextmanager
    async def http(self) -> AsyncIterator[httpx2.AsyncClient]:
        async with httpx2.AsyncClient(base_url=f"http://{self.config.api.listen}", trust_env=False) as http:
            await until(lambda: answers(http))
            yield http

    async def instance(self) -> Instance | Tombstone | None:
        item = await self.store.get(KEY)
        return None if item is None else decode_instance(KEY, item.value)

    async def is_up(self) -> bool:
        found = await self.instance()
        return isinstance(found, Instance) and found.state is State.UP

    async def publish(self, revision: int, value: Service | Gateway) -> None:
        """Compiled rules of `api`, or the gateway `edge`, as a controller publishes them: head last."""
        key = keys.compiled_service(API) if isinstance(value, Service) else keys.compiled_gateway("edge")
        source = Revision(revision)
        await self.store.put(key, compiled.encode(value, source_revision=source))
        head = Head(revision, str(revision))
        await self.store.put(keys.COMPILED_HEAD, compiled.encode(head, source_revision=source))

    async def acked(self) -> Ack | None:
        item = await self.store.get(keys.ack(HOST))
        return None if item is None else Ack.decode(item.value)


async def answers(http: httpx2.AsyncClient) -> bool:
    try:
        return (await http.get("/healthz")).status_code == 200
    except httpx2.TransportError:
        return False


async def until(holds: Callable[[], Any], *, timeout: float = 10.0) -> None:
    """Ask until it holds; what is asked is a store or a socket, which tell nobody."""
    async with asyncio.timeout(timeout):
        while True:
            found = holds()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def application() -> AsyncIterator[int]:
    """A program that accepts."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def open_world(
    directory: Path,
    etcd_config: EtcdConfig,
    engine: Path,
    *,
    more: str = "",
    role: Callable[[Config, str], agent.Role] | None = None,
) -> AsyncIterator[World]:
    """A running agent in a mesh of its own, and its end."""
    store = await EtcdStore.connect(etcd_config)
    await store.put(keys.META_LAYOUT, layout.encode(MESH))
    async with answering(make_controller(directory / "ca")) as controller:
        token = write_token(directory / "token", await controller.token("*", "gateway:edge"))
        await controller.see()
        with PortClaims() as claims:
            config = parse(
                f"""
                host = "{HOST}"
                advertise = "127.0.0.1"
                state_dir = "{directory / "agent"}"
                [engine]
                socket = "{engine}"
                [api]
                listen = "127.0.0.1:{claims.claim()}"
                [inbound]
                port = {claims.claim()}
                [etcd]
                endpoints = {orjson.dumps(etcd_config.endpoints).decode()}
                root = "{etcd_config.root}"
                lease_ttl = "3s"
                [controllers]
                urls = ["{controller.url}"]
                token_file = "{token}"
                [services]
                dir = "{directory / "services.d"}"
                {more}
                """,
                source="test",
            )
            world = World(directory, etcd_config, store, controller, config, role)
            world.start()
            refresh = asyncio.create_task(_see(controller))
            try:
                yield world
            finally:
                refresh.cancel()
                while world.tasks:
                    await world.stop()
    await store.close()


async def _see(controller: Controller) -> None:
    """What a controller's follower does: know of hosts that joined."""
    while True:
        await controller.see()
        await asyncio.sleep(0.02)
