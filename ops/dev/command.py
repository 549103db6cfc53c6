"""What `weft dev` and `weft demo` share: a mesh until a signal, everything gone within seconds of it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from ops.dev.mesh import DevMesh, running

Work = Callable[[DevMesh], Awaitable[int | None]]


def until_signal(state: Path, *, auto_ports: bool, work: Work) -> int:
    """Run a mesh and `work` in it; ends with what `work` returns, or with 0 on SIGINT or SIGTERM."""
    return asyncio.run(_until_signal(state, auto_ports, work))


async def _until_signal(state: Path, auto_ports: bool, work: Work) -> int:
    running = asyncio.create_task(_run(state, auto_ports, work))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        return await running
    return 0


async def _run(state: Path, auto_ports: bool, work: Work) -> int:
    async with running(state, auto_ports=auto_ports) as mesh:
        done = await work(mesh)
        if done is None:
            await mesh.until_cancelled()
        return done or 0
