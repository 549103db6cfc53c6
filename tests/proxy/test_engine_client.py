"""The client of the engine's socket, against an engine that answers as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.engine import AGAIN, Credential, Desired, EngineClient, Trust
from proxy.refusals import DENIED
from tests.proxy.scripted import Scripted

pytestmark = pytest.mark.anyio


class Client:
    """A client under test and a way to wait for what it has come to."""

    def __init__(self, path: Path, accepted: dict[str, bytes] | None = None) -> None:
        self.moved = asyncio.Event()
        self.engine = EngineClient(path, agent="test", changed=self.moved.set, accepted=accepted)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                await self.moved.wait()
                self.moved.clear()


@asynccontextmanager
async def pair(tmp_path: Path, accepted: dict[str, bytes] | None = None) -> AsyncIterator[tuple[Scripted, Client]]:
    engine = Scripted(tmp_path / "engine.sock")
    await engine.start()
    client = Client(engine.path, accepted)
    running = asyncio.create_task(client.engine.run())
    try:
        yield engine, client
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await engine.stop()


def desired(policy: int, **sections: bytes) -> Desired:
    return Desired(
        {f"service/shop/{name}" if name != "host" else name: value for name, value in sections.items()}, policy, 1
    )


async def serving(client: Client, policy: int) -> None:
    await client.until(lambda: client.engine.served is not None and client.engine.served.policy == policy)


async def test_what_is_offered_is_served_and_said_so(tmp_path: Path) -> None:
    async with pair(tmp_path) as (engine, client):
        client.engine.offer(desired(7, host=b"h", api=b"1"))
        await serving(client, 7)
        assert engine.sections == {"host": b"h", "service/shop/api": b"1"}
        assert engine.applies()[0]["reset"] is True
        client.engine.offer(desired(8, host=b"h", web=b"2"))
        await serving(client, 8)
        change = engine.applies()[1]
        assert (change["reset"], change["set"], change["delete"]) == (
            False,
            {"service/shop/web": b"2"},
            ["service/shop/api"],
        )


async def test_a_burst_of_changes_is_not_a_queue(tmp_path: Path) -> None:
    async with pair(tmp_path) as (engine, client):
        engine.answering.clear()
        client.engine.offer(desired(1, host=b"h"))
        await client.until(lambda: client.engine.welcome is not None)
        for policy in range(2, 102):
            client.engine.offer(desired(policy, host=b"h", api=str(policy).encode()))
            await asyncio.sleep(0)
        engine.answering.set()
        await serving(client, 101)
        assert len(engine.applies()) <= 3
        assert engine.sections["service/shop/api"] == b"101"


async def test_one_bad_section_holds_back_nothing_else(tmp_path: Path) -> None:
    async with pair(tmp_path) as (engine, client):
        engine.bad = {b"bad"}
        client.engine.offer(desired(1, host=b"h", api=b"good", web=b"1"))
        await serving(client, 1)
        client.engine.offer(desired(2, host=b"h", api=b"bad", web=b"2", fresh=b"bad"))
        await serving(client, 2)
        assert engine.sections == {
            "host": b"h",
            "service/shop/api": b"good",
            "service/shop/web": b"2",
            "service/shop/fresh": DENIED,
        }
        assert client.engine.served is not None
        refused = {refusal.section: (refusal.code, refusal.path) for refusal in client.engine.served.refused}
        assert refused == {
            "service/shop/api": ("invalid_section", "routes[0]"),
            "service/shop/fresh": ("invalid_section", "routes[0]"),
        }
        assert client.engine.refused["service/shop/api"] == b"good"
        client.engine.offer(desired(3, host=b"h", api=b"mended"))
        await serving(client, 3)
        assert client.engine.served.refused == ()


async def test_a_restarted_agent_knows_what_was_accepted_before(tmp_path: Path) -> None:
    async with pair(tmp_path, accepted={"service/shop/api": b"good"}) as (engine, client):
        engine.bad = {b"bad"}
        client.engine.offer(desired(1, host=b"h", api=b"bad"))
        await serving(client, 1)
        assert engine.sections["service/shop/api"] == b"good"


async def test_a_port_in_use_is_asked_for_again_however_many_changes_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AGAIN, "bind_failed", 0.2)
    async with pair(tmp_path) as (engine, client):
        engine.bad, engine.bad_code = {b"taken"}, "bind_failed"
        client.engine.offer(desired(1, host=b"h", api=b"taken"))
        await serving(client, 1)
        engine.bad = set()
        policy = 1
        async with asyncio.timeout(5):
            while engine.sections["service/shop/api"] != b"taken":
                policy += 1
                client.engine.offer(desired(policy, host=b"h", api=b"taken", web=str(policy).encode()))
                await serving(client, policy)
        await client.until(lambda: client.engine.served is not None and client.engine.served.refused == ())


async def test_what_crashed_an_engine_gives_way_to_what_it_had_before_and_is_offered_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AGAIN, "crashed", 0.3)
    async with pair(tmp_path) as (engine, client):
        client.engine.offer(desired(1, host=b"h", api=b"good"))
        await serving(client, 1)
        client.engine.offer(desired(2, host=b"h", api=b"poison"))
        await serving(client, 2)
        await engine.stop()
        await client.until(lambda: client.engine.welcome is None)
        engine.bad, engine.bad_code = {b"poison"}, "crashed"
        await engine.start()
        await client.until(lambda: engine.sections.get("service/shop/api") == b"good")
        await client.until(lambda: client.engine.served is not None and len(client.engine.served.refused) == 1)
        assert client.engine.served is not None
        assert [one.code for one in client.engine.served.refused] == ["crashed"]
        engine.bad = set()
        await client.until(lambda: engine.sections["service/shop/api"] == b"poison")


async def test_an_engine_that_did_not_start_from_its_newest_state_is_told_of(tmp_path: Path) -> None:
    async with pair(tmp_path) as (engine, client):
        await client.until(lambda: client.engine.welcome is not None)
        assert client.engine.notes == ()
        await engine.say("event", {"kind": "fell_back", "fields": {"why": "torn", "newest": "7", "instead": "6"}})
        await client.until(lambda: client.engine.notes != ())
        assert "7 is torn" in "".join(client.engine.notes)


async def test_an_engine_that_refuses_everything_is_not_asked_without_end(tmp_path: Path) -> None:
    async with pair(tmp_path) as (engine, client):
        engine.bad, engine.bad_section = {b"h"}, ""
        began = asyncio.get_running_loop().time()
        client.engine.offer(desired(1, host=b"h"))
        await client.until(lambda: len(engine.applies()) >= 6)
        assert asyncio.get_running_loop().time() - began > 0.6, "the pauses double: five of them take at least 0.775 s"


async def test_a_wrong_base_is_answered_by_a_reset(tmp_path: Path) -> None:
    async with pair(tmp_path) as (engine, client):
        client.engine.offer(desired(1, host=b"h"))
        await serving(client, 1)
        engine.base = 4711
        client.engine.offer(desired(2, host=b"i"))
        await serving(client, 2)
        assert [frame["reset"] for frame in engine.applies()] == [True, False, True]


async def test_an_engine_that_comes_back_is_told_everything_again(tmp_path: Path) -> None:
    async with pair(tmp_path) as (engine, client):
        client.engine.trust(Trust({"corp": (b"root",)}, ("0a",)))
        client.engine.identify("shop/api", Credential((b"leaf",), b"key"))
        client.engine.offer(desired(1, host=b"h"))
        await serving(client, 1)
        await client.until(lambda: client.engine.in_force("shop/api") is not None)
        await engine.stop()
        await client.until(lambda: client.engine.welcome is None)
        engine.frames.clear()
        engine.sections, engine.base = {}, 0
        await engine.start()
        client.engine.offer(desired(2, host=b"h"))
        await serving(client, 2)
        assert [frame["type"] for frame in engine.frames] == ["hello", "trust", "identity", "apply"]
        assert engine.sections == {"host": b"h"}


async def test_a_certificate_is_in_force_when_the_engine_says_so_and_can_be_forgotten(tmp_path: Path) -> None:
    async with pair(tmp_path) as (engine, client):
        credential = Credential((b"leaf", b"ca"), b"key")
        client.engine.identify("shop/api", credential)
        assert client.engine.in_force("shop/api") is None
        await client.until(lambda: client.engine.in_force("shop/api") == credential)
        client.engine.forget("shop/api")
        await client.until(lambda: client.engine.in_force("shop/api") is None)
        identities = [frame for frame in engine.frames if frame["type"] == "identity"]
        assert [frame["chain"] for frame in identities] == [[b"leaf", b"ca"], []]
        assert identities[0]["epoch"] < identities[1]["epoch"]


async def test_a_registry_revision_alone_is_not_sent(tmp_path: Path) -> None:
    async with pair(tmp_path) as (engine, client):
        client.engine.offer(Desired({"host": b"h"}, 1, 1))
        await serving(client, 1)
        client.engine.offer(Desired({"host": b"h"}, 1, 2))
        await client.until(lambda: client.engine.served is not None and client.engine.served.registry == 2)
        assert len(engine.applies()) == 1


async def test_an_engine_of_another_schema_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with pair(tmp_path) as (engine, client):
        engine.schema = 2
        client.engine.offer(desired(1, host=b"h"))
        await until_logged(caplog, lambda: client.moved.wait())
        assert any("schema 2" in str(vars(record).get("error")) for record in caplog.records)
        assert engine.applies() == []


async def until_logged(caplog: pytest.LogCaptureFixture, wait: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(5):
        while not caplog.records:
            await wait()
            await asyncio.sleep(0)
