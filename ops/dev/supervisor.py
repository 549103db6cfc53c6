"""Keeps processes running: one that dies is started again after a short back-off, unless `hold/<name>` is there.

One that can be succeeded is, as soon as `replace/<name>` is there: another one is started beside it, is the one to keep from
then on, and takes over by itself; the one before ends when it has nothing left to do.

How it fails: a process that cannot be started at all is tried again like one that died; `deaths` counts, so that whoever
waits for the mesh can say which one keeps dying. Leaving the scope ends all of them, the slow ones with SIGKILL, and the
store last: what leads or holds a lease gives it back on its way out, so that the next start waits for nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from ops.dev.process import Spec, bound_log, start

FIRST_BACKOFF = 0.02
LAST_BACKOFF = 2.0
SETTLED = 10.0  # seconds after which a death is a first one again
GRACE = 1.5
LOOK = 0.05
LOGS = 5.0  # seconds between two looks at how large the logs are


class Supervisor:
    """A scope in which processes run. `changed` is called after every start."""

    def __init__(self, state: Path, *, changed: Callable[[], None] = lambda: None) -> None:
        self._state = state
        self._changed = changed
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._leaving: set[asyncio.subprocess.Process] = set()
        self._last: set[str] = set()
        self._logs: asyncio.Task[None] | None = None
        self.pids: dict[str, int] = {}
        self.deaths: dict[str, int] = {}
        self.services: set[str] = set()

    def __repr__(self) -> str:
        return f"Supervisor({self.pids})"

    async def __aenter__(self) -> Supervisor:
        self._logs = asyncio.create_task(self._bound_logs(), name="bound logs")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [*self._keepers.values(), *([self._logs] if self._logs else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        others = [process for name, process in self._running.items() if name not in self._last]
        await _end([*others, *(process for process in self._leaving if process.returncode is None)])
        await _end([process for name, process in self._running.items() if name in self._last])

    async def run(self, spec: Spec) -> None:
        """Start a process and keep it running; returns once it was started the first time."""
        started = asyncio.Event()
        if spec.service:
            self.services.add(spec.name)
        if spec.last:
            self._last.add(spec.name)
        self._keepers[spec.name] = asyncio.create_task(self._keep(spec, started), name=f"keep {spec.name}")
        await started.wait()

    async def _keep(self, spec: Spec, started: asyncio.Event) -> None:
        backoff = FIRST_BACKOFF
        while True:
            born = time.monotonic()
            try:
                process = await start(spec, log=self._state / "log")
            except OSError as error:
                self._note(spec.name, f"cannot be started: {error}")
            else:
                self._running[spec.name] = process
                self.pids[spec.name] = process.pid
                self._changed()
                started.set()
                if spec.succeeds and await self._is_succeeded(spec, process):
                    continue
                status = await process.wait()
                del self._running[spec.name]
                self._note(spec.name, f"ended with {status}")
            started.set()
            self.deaths[spec.name] = self.deaths.get(spec.name, 0) + 1
            backoff = FIRST_BACKOFF if time.monotonic() - born > SETTLED else min(backoff * 2, LAST_BACKOFF)
            await asyncio.sleep(backoff)
            while (self._state / "hold" / spec.name).exists():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(LOOK)

    async def _is_succeeded(self, spec: Spec, process: asyncio.subprocess.Process) -> bool:
        """Wait until a successor is asked for, or it has ended: then False."""
        asked, ended = self._state / "replace" / spec.name, asyncio.create_task(process.wait())
        try:
            while not asked.exists():
                await asyncio.wait([ended], timeout=LOOK)
                if ended.done():
                    return False
        finally:
            ended.cancel()
        asked.unlink(missing_ok=True)
        self._leaving = {process, *(one for one in self._leaving if one.returncode is None)}
        self._note(spec.name, f"{process.pid} is to be succeeded")
        return True

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(LOGS)
            for log in (self._state / "log").glob("*.log"):
                await asyncio.to_thread(bound_log, log)

    def _note(self, name: str, what: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with contextlib.suppress(OSError), (self._state / "log" / f"{name}.log").open("a") as log:
            log.write(f"weft dev: {stamp} {name} {what}\n")


async def _end(processes: list[asyncio.subprocess.Process]) -> None:
    """SIGTERM to all, SIGKILL to those that take their time; stopped ones are woken to hear it."""
    for process in processes:
        _signal(process.pid, signal.SIGTERM)
        _signal(process.pid, signal.SIGCONT)
    waiting = [asyncio.create_task(process.wait()) for process in processes]
    if not waiting:
        return
    _, late = await asyncio.wait(waiting, timeout=GRACE)
    for process in processes if late else ():
        if process.returncode is None:
            _signal(process.pid, signal.SIGKILL)
    await asyncio.wait(waiting)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
