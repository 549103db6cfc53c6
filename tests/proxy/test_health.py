"""Checks: what answers come to, and asking real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.health import Answer, Checks, Health, Target, judge, probe
from proxy.ports import PortClaims
from registry.model import State
from registry.registration import Check

CHECK = Check(interval=0.02, timeout=1.0, rise=2, fall=3)
GOOD, BAD = Answer(True), Answer(False, "refused")


@pytest.mark.parametrize(
    ("known", "answers", "state"),
    [
        (State.STARTING, [GOOD], State.STARTING),
        (State.STARTING, [GOOD, GOOD], State.UP),
        (State.STARTING, [GOOD, BAD, GOOD], State.STARTING),
        (State.STARTING, [BAD] * 9, State.STARTING),
        (State.UP, [BAD, BAD], State.UP),
        (State.UP, [BAD, BAD, BAD], State.DOWN),
        (State.UP, [BAD, BAD, GOOD, BAD, BAD], State.UP),
        (State.DOWN, [GOOD], State.DOWN),
        (State.DOWN, [GOOD, GOOD], State.UP),
    ],
)
def test_answers_in_a_row_change_the_state(known: State, answers: list[Answer], state: State) -> None:
    health = Health(known)
    for answer in answers:
        health = judge(health, answer, CHECK)
    assert health.state is state


def test_what_is_down_says_why_and_what_is_up_says_nothing() -> None:
    health = Health(State.UP)
    for _ in range(3):
        health = judge(health, BAD, CHECK)
    assert health.why == "refused"
    assert judge(judge(health, GOOD, CHECK), GOOD, CHECK).why == ""


def test_a_missed_heartbeat_is_enough() -> None:
    ttl = Check(kind="ttl", interval=5)
    assert judge(Health(), GOOD, ttl).state is State.UP
    assert judge(Health(State.UP), BAD, ttl).state is State.DOWN


@asynccontextmanager
async def application(
    status: str = "200 OK", *, seen: asyncio.Event | None = None, after: int = 0
) -> AsyncIterator[int]:
    """A program on loopback; `seen` is set when it was asked `after` times."""
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        if seen is not None and asked >= after:
            seen.set()
        await reader.read(1000)
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "good"), [("200 OK", True), ("302 Found", True), ("404 No", False), ("503 No", False)]
)
async def test_an_http_check_believes_the_status(status: str, good: bool) -> None:
    async with application(status) as port:
        assert (await probe(Check(kind="http", path="/healthz", timeout=2), port)).good is good


@pytest.mark.anyio
async def test_a_tcp_check_needs_a_listener() -> None:
    async with application() as port:
        assert (await probe(CHECK, port)).good
    with PortClaims() as claims:
        answer = await probe(CHECK, claims.claim())
    assert not answer.good
    assert "port" in answer.why


@pytest.mark.anyio
async def test_only_changes_of_state_are_told() -> None:
    told: list[tuple[str, State]] = []
    moved, seen = asyncio.Event(), asyncio.Event()

    def changed(key: str, health: Health) -> None:
        told.append((key, health.state))
        moved.set()

    checks = Checks(changed)
    async with application(seen=seen, after=6) as port:
        checks.watch("shop/api/api-1", Target(port, CHECK), known=State.STARTING)
        async with asyncio.timeout(5):
            await moved.wait()
            await seen.wait()
        assert told == [("shop/api/api-1", State.UP)]
        moved.clear()
    async with asyncio.timeout(5):
        await moved.wait()
    assert told[1:] == [("shop/api/api-1", State.DOWN)]
    await checks.close()


@pytest.mark.anyio
async def test_an_instance_that_was_up_and_starts_anew_elsewhere_is_up_again_once_it_answers_there() -> None:
    up = asyncio.Event()
    checks = Checks(lambda key, health: up.set() if health.state is State.UP else None)
    async with application() as before, application() as port:
        checks.watch("shop/api/api-1", Target(before, CHECK), known=State.UP)
        checks.watch("shop/api/api-1", Target(port, CHECK), known=State.STARTING)
        assert checks.known["shop/api/api-1"].state is State.STARTING
        async with asyncio.timeout(5):
            await up.wait()
    await checks.close()


@pytest.mark.anyio
async def test_a_ttl_check_goes_down_when_the_beats_end() -> None:
    down = asyncio.Event()
    checks = Checks(lambda key, health: down.set() if health.state is State.DOWN else None)
    checks.watch("a", Target(1, Check(kind="ttl", interval=0.05)), known=State.STARTING)
    assert checks.beat("a")
    assert checks.known["a"].state is State.UP
    async with asyncio.timeout(5):
        await down.wait()
    assert not checks.beat("b")
    await checks.close()
