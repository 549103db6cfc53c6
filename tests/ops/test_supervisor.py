"""Processes that are kept running, and that never outlive whoever keeps them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.dev.process import Spec, bound_log
from ops.dev.supervisor import Supervisor

pytestmark = pytest.mark.anyio

SLEEP = ("/bin/sleep", "600")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with the two folders that supervision looks at."""
    for name in ("log", "hold"):
        (tmp_path / name).mkdir()
    return tmp_path


async def until(what: str, probe: Callable[[], bool], *, within: float = 10.0) -> None:
    end = time.monotonic() + within
    while not probe():
        assert time.monotonic() < end, f"not within {within:g} s: {what}"
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_process_that_dies_is_started_again_and_whoever_asked_is_told(state: Path) -> None:
    told: list[int] = []
    async with Supervisor(state, changed=lambda: told.append(1)) as supervisor:
        await supervisor.run(Spec("sleeper", SLEEP))
        first = supervisor.pids["sleeper"]
        os.kill(first, signal.SIGKILL)
        await until("it runs under another id", lambda: supervisor.pids["sleeper"] != first)
        assert alive(supervisor.pids["sleeper"])
        assert supervisor.deaths == {"sleeper": 1}
        assert len(told) == 2
    assert "sleeper ended with -9" in (state / "log" / "sleeper.log").read_text()


async def test_a_successor_is_started_beside_what_it_succeeds_and_both_end_with_the_scope(state: Path) -> None:
    (state / "replace").mkdir()
    async with Supervisor(state) as supervisor:
        await supervisor.run(Spec("sleeper", SLEEP, succeeds=True))
        first = supervisor.pids["sleeper"]
        (state / "replace" / "sleeper").touch()
        await until("another one is the one to keep", lambda: supervisor.pids["sleeper"] != first)
        second = supervisor.pids["sleeper"]
        assert alive(first)
        assert alive(second)
        assert not (state / "replace" / "sleeper").exists()
        os.kill(first, signal.SIGKILL)
        await until("the one before has ended", lambda: not alive(first))
        assert supervisor.deaths == {}, "which is no death of the one that is kept"
        os.kill(second, signal.SIGKILL)
        await until("the successor is kept", lambda: supervisor.pids["sleeper"] != second)
    assert not any(alive(pid) for pid in (first, second, supervisor.pids["sleeper"]))


async def test_a_held_process_stays_dead_until_it_is_released(state: Path) -> None:
    async with Supervisor(state) as supervisor:
        await supervisor.run(Spec("sleeper", SLEEP))
        first = supervisor.pids["sleeper"]
        (state / "hold" / "sleeper").touch()
        os.kill(first, signal.SIGKILL)
        await until("its death is noticed", lambda: "sleeper" in supervisor.deaths)
        await asyncio.sleep(0.3)  # far longer than the first back-off
        assert supervisor.pids["sleeper"] == first
        (state / "hold" / "sleeper").unlink()
        await until("it runs again", lambda: supervisor.pids["sleeper"] != first)


async def test_what_cannot_be_started_is_tried_again_and_its_log_says_why(state: Path) -> None:
    async with Supervisor(state) as supervisor:
        await supervisor.run(Spec("ghost", ("/nowhere/ghost",)))
        await until("it was tried twice", lambda: supervisor.deaths.get("ghost", 0) >= 2)
    assert "/nowhere/ghost: No such file or directory" in (state / "log" / "ghost.log").read_text()


async def test_all_end_with_the_scope_the_deaf_and_the_stopped_too(state: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    async with Supervisor(state) as supervisor:
        for spec in (Spec("plain", SLEEP), Spec("stopped", SLEEP), Spec("deaf", (sys.executable, "-c", deaf))):
            await supervisor.run(spec)
        await until("it is deaf", lambda: "deaf" in (state / "log" / "deaf.log").read_text())
        os.kill(supervisor.pids["stopped"], signal.SIGSTOP)
        pids = list(supervisor.pids.values())
        ended = time.monotonic()
    assert time.monotonic() - ended < 5.0
    assert not [pid for pid in pids if alive(pid)]


async def test_the_last_one_outlives_the_others_at_the_end(state: Path) -> None:
    farewell = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    time.sleep(0.2)\n"
        "    print(sys.argv[1], flush=True)\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    order = state / "order"
    async with Supervisor(state) as supervisor:
        for name, last in (("store", True), ("leader", False)):
            command = ("/bin/sh", "-c", f'exec "{sys.executable}" -c "$0" {name} >>"{order}"', farewell)
            await supervisor.run(Spec(name, command, last=last))
        await until("both run", lambda: order.exists() and order.read_text().count("ready") == 2)
    assert order.read_text().split() == ["ready", "ready", "leader", "store"]


def test_processes_die_with_a_starter_that_is_killed(state: Path) -> None:
    starter = (
        "import asyncio, pathlib, sys\n"
        "from ops.dev.process import Spec\n"
        "from ops.dev.supervisor import Supervisor\n"
        "async def main():\n"
        "    async with Supervisor(pathlib.Path(sys.argv[1])) as supervisor:\n"
        f"        await supervisor.run(Spec('sleeper', {SLEEP}))\n"
        "        print(supervisor.pids['sleeper'], flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", starter, str(state)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        asyncio.run(until("it runs", lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()[:12]))
        process.kill()
        process.wait()
    asyncio.run(until("the process died too", lambda: not alive(pid)))


async def test_a_log_that_grew_large_begins_anew_under_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 100)
        bound_log(log, kept=1000)
        assert log.stat().st_size == 100
        bound_log(log, kept=99)
        writer.write(b"after")
    assert log.read_bytes() == b"after"
    assert (tmp_path / "engine.log.1").read_bytes() == b"x" * 100
