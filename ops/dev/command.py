"""What `weft dev` and `weft demo` share: a mesh until a signal, everything gone within seconds of it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable

from ops.dev.mesh import DevMesh, Options, running

Work = Callable[[DevMesh], Awaitable[int | None]]


def until_signal(options: Options, work: Work) -> int:
    """Run a mesh and `work` in it; ends with what `work` returns, or with 0 on SIGINT or SIGTERM."""
    return asyncio.run(_until_signal(options, work))


async def _until_signal(options: Options, work: Work) -> int:
    task = asyncio.create_task(_run(options, work))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        return await task
    return 0


async def _run(options: Options, work: Work) -> int:
    async with running(options) as mesh:
        done = await work(mesh)
        if done is None:
            await mesh.until_cancelled()
        return done or 0
