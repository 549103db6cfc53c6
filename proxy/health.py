"""Whether an instance works, found out by asking it.

`judge` is pure: what was known, and one more answer. `Checks` asks: one task per instance, every 100 ms while it starts (for
its first ten seconds, then at its interval), with jitter so that hundreds of checks spread over time. Only a change of
what `judge` says is told; answers are not.

How it fails: a check never raises. Whatever goes wrong with a probe is a bad answer, with the reason as text.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from registry.model import State
from registry.registration import Check

STARTING_INTERVAL = 0.1
STARTING_FOR = 10.0
MOST_OF_AN_ANSWER = 4096


@dataclass(frozen=True, slots=True)
class Health:
    """What a check has come to: `state` is STARTING, UP or DOWN; `streak` counts the last answers of one kind."""

    state: State = State.STARTING
    good: bool = False
    streak: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one probe said; `why` is for people, where it is bad."""

    good: bool
    why: str = ""


def judge(known: Health, answer: Answer, check: Check) -> Health:
    """`rise` good answers in a row make it up, `fall` bad ones make an instance that was up go down.

    One that is starting stays so until it is up: it has not failed, it has not begun.
    """
    streak = known.streak + 1 if answer.good is known.good else 1
    state = known.state
    if answer.good and streak >= (1 if check.kind == "ttl" else check.rise):
        state = State.UP
    elif not answer.good and known.state is State.UP and streak >= (1 if check.kind == "ttl" else check.fall):
        state = State.DOWN
    why = "" if state is State.UP else (answer.why or known.why)
    return Health(state, answer.good, streak, why)


async def probe(check: Check, port: int) -> Answer:
    """One question to an application on loopback: a connect, or a GET that must answer 200 to 399."""
    try:
        async with asyncio.timeout(check.timeout):
            return await (_get(port, check.path) if check.kind == "http" else _connect(port))
    except TimeoutError:
        return Answer(False, f"no answer on port {port} within {check.timeout:g} s")
    except OSError as error:
        return Answer(False, f"port {port}: {error.strerror or error}")


async def _connect(port: int) -> Answer:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.transport.abort()
    return Answer(True)


async def _get(port: int, path: str) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        request = (
            f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: weft-check\r\nconnection: close\r\n\r\n"
        )
        writer.write(request.encode("ascii"))
        line = await _line(reader)
        parts = line.split(None, 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            return Answer(False, f"GET {path}: {line[:60]!r} is no HTTP/1 answer")
        status = int(parts[1])
        return Answer(200 <= status < 400, f"GET {path}: {status}")
    finally:
        writer.transport.abort()


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = b""
    while b"\n" not in line and len(line) < MOST_OF_AN_ANSWER:
        chunk = await reader.read(MOST_OF_AN_ANSWER)
        if not chunk:
            break
        line += chunk
    return line.partition(b"\n")[0].strip()


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked and how; a change of it starts the check anew, knowing what was known."""

    port: int
    check: Check


@dataclass(slots=True)
class _Running:
    target: Target
    health: Health
    task: asyncio.Task[None]
    beat: asyncio.Event


class Checks:
    """The checks of a host, by key. `changed(key, health)` is called when an instance's state changes."""

    def __init__(self, changed: Callable[[str, Health], None]) -> None:
        self._changed = changed
        self._running: dict[str, _Running] = {}

    def __repr__(self) -> str:
        return f"Checks({ {key: one.health.state.value for key, one in self._running.items()} })"

    def watch(self, key: str, target: Target, *, known: State) -> None:
        """Ask from now on; `known` is what the instance is taken for until answers change it."""
        before = self._running.get(key)
        if before is not None:
            if before.target == target:
                return
            before.task.cancel()
        health = Health(state=known)
        if before is not None and before.health.state is known:
            health = replace(before.health, streak=0)
        beat = asyncio.Event()
        self._running[key] = _Running(target, health, asyncio.create_task(self._run(key)), beat)

    def forget(self, key: str) -> None:
        """Ask no more."""
        running = self._running.pop(key, None)
        if running is not None:
            running.task.cancel()

    def beat(self, key: str) -> bool:
        """A program says that it works; False where no ttl check waits for that."""
        running = self._running.get(key)
        if running is None or running.target.check.kind != "ttl":
            return False
        running.beat.set()
        self._note(key, running, Answer(True))
        return True

    @property
    def known(self) -> Mapping[str, Health]:
        """What every check has come to."""
        return {key: running.health for key, running in self._running.items()}

    async def close(self) -> None:
        """End all of them."""
        tasks = [running.task for running in self._running.values()]
        for key in list(self._running):
            self.forget(key)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: str) -> None:
        running = self._running[key]
        if running.target.check.kind == "ttl":
            await self._expect_beats(key, running)
        check = running.target.check
        begun = asyncio.get_running_loop().time()
        if running.health.state is not State.STARTING:
            await asyncio.sleep(check.interval * random.random())
        while True:
            self._note(key, running, await probe(check, running.target.port))
            young = asyncio.get_running_loop().time() - begun < STARTING_FOR
            starting = running.health.state is State.STARTING and young
            interval = min(STARTING_INTERVAL, check.interval) if starting else check.interval
            await asyncio.sleep(interval * random.uniform(0.9, 1.1))

    async def _expect_beats(self, key: str, running: _Running) -> None:
        ttl = running.target.check.interval
        while True:
            try:
                async with asyncio.timeout(ttl):
                    await running.beat.wait()
                running.beat.clear()
            except TimeoutError:
                self._note(key, running, Answer(False, f"no heartbeat for {ttl:g} s"))

    def _note(self, key: str, running: _Running, answer: Answer) -> None:
        before = running.health
        running.health = judge(before, answer, running.target.check)
        if running.health.state is not before.state:
            self._changed(key, running.health)
