"""An agent as its neighbours see it: a real store, a controller over real TLS, an engine that speaks frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from policy import compiled
from policy.compiled import Access, Head, Service
from policy.rollout import Ack
from proxy import agent
from proxy.config import Config, parse
from proxy.ports import PortClaims
from registry import keys, layout
from registry.etcd import EtcdConfig, EtcdStore
from registry.model import Instance, Protocol, State, Tombstone
from registry.names import ServiceName
from registry.records import decode_host, decode_instance, encode_instance
from registry.store import Revision, Store
from tests.proxy.scripted import Scripted
from tests.support.identity import MESH, Controller, answering, make_controller, write_token

pytestmark = pytest.mark.anyio

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
    engine: Scripted
    config: Config
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """One life of the agent."""
        self.tasks.append(asyncio.create_task(agent.serve_host(self.config, "127.0.0.1")))

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

    async def publish(self, revision: int, service: Service) -> None:
        for key, value in (
            (keys.compiled_service(API), service),
            (keys.COMPILED_HEAD, Head(revision, str(revision))),
        ):
            await self.store.put(key, compiled.encode(value, source_revision=Revision(revision)))

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


@pytest.fixture
async def world(tmp_path: Path, etcd_config: EtcdConfig) -> AsyncIterator[World]:
    store = await EtcdStore.connect(etcd_config)
    await store.put(keys.META_LAYOUT, layout.encode(MESH))
    engine = Scripted(tmp_path / "engine.sock")
    await engine.start()
    async with answering(make_controller(tmp_path / "ca")) as controller:
        token = write_token(tmp_path / "token", await controller.token("*"))
        await controller.see()
        with PortClaims() as claims:
            config = parse(
                f"""
                host = "{HOST}"
                advertise = "127.0.0.1"
                state_dir = "{tmp_path / "agent"}"
                [engine]
                socket = "{engine.path}"
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
                dir = "{tmp_path / "services.d"}"
                """,
                source="test",
            )
            world = World(tmp_path, etcd_config, store, controller, engine, config)
            world.start()
            refresh = asyncio.create_task(_see(controller))
            yield world
            refresh.cancel()
            while world.tasks:
                await world.stop()
    await engine.stop()
    await store.close()


async def _see(controller: Controller) -> None:
    """What a controller's follower does: know of hosts that joined."""
    while True:
        await controller.see()
        await asyncio.sleep(0.02)


async def test_a_program_joins_is_checked_and_served(world: World) -> None:
    async with application() as port, world.http() as http:
        body = {"port": port, "upstreams": [{"service": "db"}], "check": {"tcp": True, "rise": 1}}
        answer = (await http.put(URL, json=body)).json()
        assert answer["identity"] == "spiffe://test.weft/ns/default/dc/local/svc/api"
        assert answer["key"] == f"{world.etcd.root}{KEY}"
        assert answer["upstreams"]["db"]["known"] is False
        assert (answer["stored"], answer["changed"]) == ("etcd", True)
        await until(world.is_up)
        found = await world.instance()
        assert isinstance(found, Instance)
        assert (found.host, found.port) == (HOST, port)
        assert found.address == f"127.0.0.1:{world.config.inbound.port}"
        item = await world.store.get(keys.host(HOST))
        assert item is not None
        assert decode_host(item.key, item.value).addresses == ("127.0.0.1",)
        await until(lambda: "endpoints/default/db" in world.engine.sections)
        listener = world.engine.opened("listener/default.api.default.db")
        assert answer["upstreams"]["db"]["url"] == f"http://{listener['address']}"
        await until(lambda: world.engine.opened("endpoints/default/api")["endpoints"][0]["state"] == "up")
        again = (await http.put(URL, json=body)).json()
        assert (again["changed"], again["state"], again["stored"]) == (False, "up", "etcd")


async def test_the_end_is_a_tombstone_and_a_drain_comes_before_it(world: World) -> None:
    async with application() as port, world.http() as http:
        await http.put(URL, json={"port": port})
        await until(world.is_up)
        assert (await http.put(URL + "/drain")).json()["state"] == "drain"
        found = await world.instance()
        assert isinstance(found, Instance)
        assert found.state is State.DRAIN
        assert (await http.delete(URL)).json()["stored"] == "etcd"
        assert isinstance(await world.instance(), Tombstone)
        assert (await http.get(URL)).status_code == 404
        item = await world.store.get(KEY)
        assert item is not None
        assert (await world.store.keep_alive(item.lease)).total_seconds() > 500


async def test_a_program_that_dies_is_down_and_its_probes_write_nothing(world: World) -> None:
    async with world.http() as http:
        async with application() as port:
            check = {"tcp": True, "interval": "20ms", "rise": 1, "fall": 2}
            await http.put(URL, json={"port": port, "check": check})
            await until(world.is_up)
            before = await world.store.get(KEY)
            await asyncio.sleep(0.3)
            assert await world.store.get(KEY) == before

        async def is_down() -> bool:
            found = await world.instance()
            return isinstance(found, Instance) and found.state is State.DOWN

        await until(is_down)


async def test_a_restart_of_the_agent_unlists_nothing(world: World) -> None:
    async with application() as port:
        async with world.http() as http:
            await http.put(URL, json={"port": port})
            await until(world.is_up)
        await until(lambda: world.engine.opened("endpoints/default/api")["endpoints"][0]["state"] == "up")
        before = await world.store.get(KEY)
        await world.stop()
        applied = len(world.engine.applies())
        world.start()
        async with world.http() as http:
            await until(lambda: len(world.engine.applies()) > applied)
            assert (await http.get(URL)).json()["state"] == "up"
        after = await world.store.get(KEY)
        assert before is not None
        assert after is not None
        assert (after.create_revision, after.lease) == (before.create_revision, before.lease)
        for frame in world.engine.applies()[applied:]:
            assert "endpoints/default/api" in frame["set"] or not frame["reset"]
            assert "endpoints/default/api" not in frame["delete"]


async def test_policy_is_served_and_acked_up_to_head(world: World) -> None:
    async with application() as port, world.http() as http:
        await http.put(URL, json={"port": port})
        await until(lambda: "service/default/api" in world.engine.sections)
        deny = Service(access=Access(default="deny"))
        await world.publish(7, deny)

        async def acks(policy: int) -> bool:
            ack = await world.acked()
            return ack is not None and ack.policy == policy

        await until(lambda: acks(7))
        assert world.engine.opened("service/default/api")["access"]["default"] == "deny"
        await world.store.put(keys.compiled_service(API), compiled.encode(Service(), source_revision=Revision(9)))
        await world.store.put(keys.barrier("now"), b"{}")
        before = await world.store.get(keys.ack(HOST))
        assert before is not None

        async def acked_again() -> bool:
            item = await world.store.get(keys.ack(HOST))
            return item is not None and item.mod_revision > before.mod_revision

        await until(acked_again)
        assert await acks(7), "what is newer than head is not served yet"
        assert world.engine.opened("service/default/api")["access"]["default"] == "deny"


async def test_a_refused_section_is_named_in_the_ack(world: World) -> None:
    async with application() as port, world.http() as http:
        await http.put(URL, json={"port": port})
        await until(lambda: "service/default/api" in world.engine.sections)
        bad = Service(access=Access(default="deny"))
        world.engine.bad = {compiled.pack(bad)}
        await world.publish(7, bad)

        async def refused() -> bool:
            ack = await world.acked()
            return ack is not None and [one.section for one in ack.refused] == ["service/default/api"]

        await until(refused)
        ack = await world.acked()
        assert ack is not None
        assert ack.policy == 7
        assert "spiffe://test.weft/ns/default/dc/local/svc/api" in ack.certificates


async def test_files_of_services_are_followed(world: World) -> None:
    async with application() as port, world.http():
        directory = world.directory / "services.d"
        directory.mkdir()
        path = directory / "api.yaml"
        path.write_text(f"service: api\nid: api-1\nport: {port}\n")
        await until(world.is_up)
        path.unlink()

        async def is_gone() -> bool:
            return isinstance(await world.instance(), Tombstone)

        await until(is_gone)


async def test_what_contradicts_the_mesh_is_refused(world: World) -> None:
    async with application() as port, world.http() as http:
        other = Instance(API, "api-9", "vm-2", "10.0.0.2:7502", 80, Protocol.GRPC, State.UP)
        await world.store.put(keys.instance(API, "api-9"), encode_instance(other))
        await until(lambda: knows(http))
        answer = await http.put(URL, json={"port": port})
        assert (answer.status_code, answer.json()["code"]) == (409, "protocol_conflict")
        assert await world.instance() is None


async def test_another_mesh_is_neither_followed_nor_written_to(world: World) -> None:
    async with application() as port, world.http() as http:
        await http.put(URL, json={"port": port})
        await until(world.is_up)
        before = dict(world.engine.sections)
        await world.store.put(keys.META_LAYOUT, layout.encode(layout.Layout("f" * 32, "other", "dc")))
        await until(lambda: objects(http))
        answer = (await http.put("/v1/services/api/instances/api-2", json={"port": port})).json()
        assert answer["stored"] == "disk"
        assert await world.store.get(keys.instance(API, "api-2")) is None
        assert world.engine.sections["host"] == before["host"]


async def knows(http: httpx2.AsyncClient) -> bool:
    return (await http.get("/v1/services/api")).status_code == 200


async def objects(http: httpx2.AsyncClient) -> bool:
    return bool((await http.get("/v1/status")).json()["objection"])


async def test_with_the_store_dead_a_restart_keeps_the_mesh_as_it_was(world: World) -> None:
    other = Instance(ServiceName("default", "db"), "db-1", "vm-2", "10.0.0.2:7502", 80, Protocol.HTTP, State.UP)
    await world.store.put(keys.instance(other.service, other.id), encode_instance(other))
    await world.publish(7, Service(access=Access(default="deny")))
    async with application() as port:
        async with world.http() as http:
            await http.put(URL, json={"port": port, "upstreams": [{"service": "db"}]})
            await until(world.is_up)
            await until(lambda: "endpoints/default/db" in world.engine.sections)
            await until(lambda: world.engine.opened("endpoints/default/api")["endpoints"][0]["state"] == "up")
        await until(lambda: kept(world, b"db-1"))
        await world.stop()
        before = dict(world.engine.sections)
        with PortClaims() as claims:
            assert world.config.etcd is not None
            dead = world.config.etcd.model_copy(update={"endpoints": (f"http://127.0.0.1:{claims.claim()}",)})
            world.config = world.config.model_copy(update={"etcd": dead})
            world.engine.frames.clear()
            world.start()
            async with world.http() as http:
                await until(lambda: bool(world.engine.applies()))
                assert world.engine.sections == before
                status = (await http.get("/v1/status")).json()
                assert (status["source"], status["policy"]) == ("disk", 7)
                answer = (await http.put("/v1/services/web/instances/web-1", json={"port": port})).json()
                assert (answer["stored"], answer["revision"]) == ("disk", 0)
                await until(lambda: "endpoints/default/web" in world.engine.sections)


async def test_one_state_directory_has_one_agent(world: World) -> None:
    async with world.http():
        with pytest.raises(agent.AgentRunningError, match="give this one its own"):
            await agent.serve_host(world.config, "127.0.0.1")


def kept(world: World, text: bytes) -> bool:
    path = world.config.state_dir / "view.msgpack"
    return path.exists() and text in path.read_bytes()
