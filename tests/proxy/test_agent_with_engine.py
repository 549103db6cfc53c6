"""An agent and a real engine on one host: a request from one service to another over mutual TLS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from policy.compiled import Access, Rule, Service
from proxy.ports import PortClaims
from registry.etcd import EtcdConfig
from tests.proxy.world import World, open_world, until
from tests.support.engine import EngineProcess, running_engine

pytestmark = pytest.mark.anyio


@dataclass
class Pair:
    """`web`, which calls `api`, on one host."""

    world: World
    engine: EngineProcess
    agent: httpx2.AsyncClient
    upstream: str
    """Where web finds api."""
    open: str
    """Where a request's host names the service."""

    async def call(self) -> httpx2.Response:
        async with httpx2.AsyncClient(trust_env=False) as http:
            return await http.get(self.upstream + "/hello")


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A program that answers with the fields it received."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = json.dumps({"line": head[0], "fields": fields}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def pair(tmp_path: Path, etcd_config: EtcdConfig) -> AsyncIterator[Pair]:
    with PortClaims() as claims, running_engine(tmp_path / "e", claims) as engine:
        port = claims.claim()
        more = f'[outbound]\nlisten = "127.0.0.1:{port}"\nas = "web"\n'
        async with (
            open_world(tmp_path, etcd_config, engine.socket, more=more) as world,
            world.http() as http,
            echo() as api,
            echo() as web,
        ):
            for service, own, upstreams in (("api", api, []), ("web", web, [{"service": "api"}])):
                body = {"port": own, "upstreams": upstreams, "check": {"tcp": True, "rise": 1}}
                answer = (await http.put(f"/v1/services/{service}/instances/{service}-1", json=body)).json()
            pair = Pair(world, engine, http, answer["upstreams"]["api"]["url"], f"http://127.0.0.1:{port}")
            await until(lambda: works(pair))
            yield pair


async def works(pair: Pair, status: int = 200) -> bool:
    try:
        return (await pair.call()).status_code == status
    except httpx2.TransportError:
        return False


async def test_a_call_goes_over_mutual_tls_and_names_its_caller(pair: Pair) -> None:
    answer = await pair.call()
    assert answer.json()["line"] == "GET /hello HTTP/1.1"
    assert "web" in answer.json()["fields"]["x-weft-caller"]


async def test_the_open_port_leads_to_every_service_by_its_host_as_the_configured_caller(pair: Pair) -> None:
    async with httpx2.AsyncClient(trust_env=False) as http:
        for host in ("api", "api.default", "api.weft", "api.default.weft"):
            answer = await http.get(pair.open + "/hello", headers={"host": host})
            assert answer.status_code == 200, answer.text
            assert answer.json()["fields"]["x-weft-caller"].endswith("/svc/web")
        unknown = await http.get(pair.open + "/hello", headers={"host": "nobody"})
        assert (unknown.status_code, unknown.headers["x-weft-reason"]) == (404, "no_route")


async def test_access_decides_within_a_moment_and_is_acked(pair: Pair) -> None:
    nobody = Access(rules=(Rule("nobody", "allow", callers=("default/somebody-else",)),))
    await pair.world.publish(7, Service(access=nobody))

    async def denied() -> bool:
        answer = await pair.call()
        return answer.status_code == 403 and answer.headers["x-weft-reason"] == "denied"

    await until(denied)

    async def acked() -> bool:
        ack = await pair.world.acked()
        return ack is not None and ack.policy == 7 and not ack.refused

    await until(acked)
    await pair.world.publish(8, Service())
    await until(lambda: works(pair))


async def test_calls_go_on_while_the_agent_is_dead_and_when_it_comes_back(pair: Pair) -> None:
    await pair.world.stop()
    assert await works(pair)
    pair.world.start()
    async with pair.world.http() as http:
        for _ in range(100):
            assert (await pair.call()).status_code == 200
        status = (await http.get("/v1/status")).json()
        assert status["engine"]["connected"] is True


async def test_an_engine_that_was_killed_is_back_with_what_it_served(pair: Pair) -> None:
    await pair.world.stop()
    pair.engine.kill()
    pair.engine.start()
    await until(lambda: works(pair), timeout=5)


async def test_an_instance_that_stops_is_taken_out_and_said_to_be_gone(pair: Pair) -> None:
    await pair.agent.delete("/v1/services/api/instances/api-1")

    async def nobody() -> bool:
        answer = await pair.call()
        return answer.status_code == 503 and answer.headers["x-weft-reason"] == "no_endpoint"

    await until(nobody)
