"""An agent as its neighbours see it: a real store, a controller over real TLS, an engine that speaks frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from policy import compiled
from policy.compiled import Access, Service
from proxy import agent
from proxy.ports import PortClaims
from registry import keys, layout
from registry.etcd import EtcdConfig
from registry.model import Instance, Protocol, State, Tombstone
from registry.names import ServiceName
from registry.records import decode_host, encode_instance
from registry.store import Revision
from tests.proxy.scripted import Scripted
from tests.proxy.world import API, HOST, KEY, URL, World, application, open_world, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Scripted]:
    scripted = Scripted(tmp_path / "engine.sock")
    await scripted.start()
    yield scripted
    await scripted.stop()


@pytest.fixture
async def world(tmp_path: Path, etcd_config: EtcdConfig, engine: Scripted) -> AsyncIterator[World]:
    async with open_world(tmp_path, etcd_config, engine.path) as world:
        yield world


async def test_a_program_joins_is_checked_and_served(world: World, engine: Scripted) -> None:
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
        await until(lambda: "endpoints/default/db" in engine.sections)
        listener = engine.opened("listener/default.api.default.db")
        assert answer["upstreams"]["db"]["url"] == f"http://{listener['address']}"
        await until(lambda: engine.opened("endpoints/default/api")["endpoints"][0]["state"] == "up")
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


async def test_a_restart_of_the_agent_unlists_nothing(world: World, engine: Scripted) -> None:
    async with application() as port:
        async with world.http() as http:
            await http.put(URL, json={"port": port})
            await until(world.is_up)
        await until(lambda: engine.opened("endpoints/default/api")["endpoints"][0]["state"] == "up")
        before = await world.store.get(KEY)
        await world.stop()
        applied = len(engine.applies())
        world.start()
        async with world.http() as http:
            await until(lambda: len(engine.applies()) > applied)
            assert (await http.get(URL)).json()["state"] == "up"
        after = await world.store.get(KEY)
        assert before is not None
        assert after is not None
        assert (after.create_revision, after.lease) == (before.create_revision, before.lease)
        for frame in engine.applies()[applied:]:
            assert "endpoints/default/api" in frame["set"] or not frame["reset"]
            assert "endpoints/default/api" not in frame["delete"]


async def test_policy_is_served_and_acked_up_to_head(world: World, engine: Scripted) -> None:
    async with application() as port, world.http() as http:
        await http.put(URL, json={"port": port})
        await until(lambda: "service/default/api" in engine.sections)
        deny = Service(access=Access(default="deny"))
        await world.publish(7, deny)

        async def acks(policy: int) -> bool:
            ack = await world.acked()
            return ack is not None and ack.policy == policy

        await until(lambda: acks(7))
        assert engine.opened("service/default/api")["access"]["default"] == "deny"
        await world.store.put(keys.compiled_service(API), compiled.encode(Service(), source_revision=Revision(9)))
        await world.store.put(keys.barrier("now"), b"{}")
        before = await world.store.get(keys.ack(HOST))
        assert before is not None

        async def acked_again() -> bool:
            item = await world.store.get(keys.ack(HOST))
            return item is not None and item.mod_revision > before.mod_revision

        await until(acked_again)
        assert await acks(7), "what is newer than head is not served yet"
        assert engine.opened("service/default/api")["access"]["default"] == "deny"


async def test_a_refused_section_is_named_in_the_ack(world: World, engine: Scripted) -> None:
    async with application() as port, world.http() as http:
        await http.put(URL, json={"port": port})
        await until(lambda: "service/default/api" in engine.sections)
        bad = Service(access=Access(default="deny"))
        engine.bad = {compiled.pack(bad)}
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


async def test_another_mesh_is_neither_followed_nor_written_to(world: World, engine: Scripted) -> None:
    async with application() as port, world.http() as http:
        await http.put(URL, json={"port": port})
        await until(world.is_up)
        before = dict(engine.sections)
        await world.store.put(keys.META_LAYOUT, layout.encode(layout.Layout("f" * 32, "other", "dc")))
        await until(lambda: objects(http))
        answer = (await http.put("/v1/services/api/instances/api-2", json={"port": port})).json()
        assert answer["stored"] == "disk"
        assert await world.store.get(keys.instance(API, "api-2")) is None
        assert engine.sections["host"] == before["host"]


async def knows(http: httpx2.AsyncClient) -> bool:
    return (await http.get("/v1/services/api")).status_code == 200


async def objects(http: httpx2.AsyncClient) -> bool:
    return bool((await http.get("/v1/status")).json()["objection"])


async def test_with_the_store_dead_a_restart_keeps_the_mesh_as_it_was(world: World, engine: Scripted) -> None:
    other = Instance(ServiceName("default", "db"), "db-1", "vm-2", "10.0.0.2:7502", 80, Protocol.HTTP, State.UP)
    await world.store.put(keys.instance(other.service, other.id), encode_instance(other))
    await world.publish(7, Service(access=Access(default="deny")))
    async with application() as port:
        async with world.http() as http:
            await http.put(URL, json={"port": port, "upstreams": [{"service": "db"}]})
            await until(world.is_up)
            await until(lambda: "endpoints/default/db" in engine.sections)
            await until(lambda: engine.opened("endpoints/default/api")["endpoints"][0]["state"] == "up")
        await until(lambda: kept(world, b"db-1"))
        await world.stop()
        before = dict(engine.sections)
        with PortClaims() as claims:
            assert world.config.etcd is not None
            dead = world.config.etcd.model_copy(update={"endpoints": (f"http://127.0.0.1:{claims.claim()}",)})
            world.config = world.config.model_copy(update={"etcd": dead})
            engine.frames.clear()
            world.start()
            async with world.http() as http:
                await until(lambda: bool(engine.applies()))
                assert engine.sections == before
                status = (await http.get("/v1/status")).json()
                assert (status["source"], status["policy"]) == ("disk", 7)
                answer = (await http.put("/v1/services/web/instances/web-1", json={"port": port})).json()
                assert (answer["stored"], answer["revision"]) == ("disk", 0)
                await until(lambda: "endpoints/default/web" in engine.sections)


async def test_one_state_directory_has_one_agent(world: World) -> None:
    async with world.http():
        with pytest.raises(agent.AgentRunningError, match="give this one its own"):
            await agent.serve_host(world.config, "127.0.0.1")


def kept(world: World, text: bytes) -> bool:
    path = world.config.state_dir / "view.msgpack"
    return path.exists() and text in path.read_bytes()


async def test_a_key_that_somebody_deleted_or_edited_comes_back(world: World) -> None:
    async with application() as port, world.http() as http:
        await http.put(URL, json={"port": port})
        await until(world.is_up)
        await world.store.delete(KEY)
        await until(world.is_up)
        edited = Instance(API, "api-1", HOST, "127.0.0.1:1", 1, Protocol.HTTP, State.DOWN)
        await world.store.put(KEY, encode_instance(edited))
        await until(world.is_up)


async def test_an_id_names_one_instance_in_the_whole_mesh(world: World) -> None:
    async with application() as port, world.http() as http:
        other = Instance(API, "api-1", "vm-2", "10.0.0.2:7502", 80, Protocol.HTTP, State.UP)
        await world.store.put(KEY, encode_instance(other))
        await until(lambda: knows(http))
        answer = await http.put(URL, json={"port": port})
        assert (answer.status_code, answer.json()["code"]) == (409, "instance_taken")
        found = await world.instance()
        assert isinstance(found, Instance)
        assert found.host == "vm-2"
