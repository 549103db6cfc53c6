"""The samples in a mesh that runs, and the first request through all of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ops.demo import samples
from ops.dev.http import Answer, call
from ops.dev.mesh import PATIENCE, DevMesh, DidNotStartError
from proxy.ports import PortClaims

LOOK = 0.02


@asynccontextmanager
async def samples_running(mesh: DevMesh) -> AsyncIterator[None]:
    """The samples are registered for as long as the scope lasts; their processes end with the mesh."""
    with PortClaims() as claims:
        await samples.start(mesh, claims)
        try:
            yield
        finally:
            await samples.withdraw(mesh)


async def first_request(mesh: DevMesh) -> str:
    """Wait for the first 200, then say of one more what it was and how long it took; raises `DidNotStartError`."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = await _try(mesh)
        if isinstance(answer, Answer) and answer.status == 200:
            break
        if time.monotonic() > end:
            said = f"{answer.status} {answer.fields.get('x-weft-reason', '')}" if isinstance(answer, Answer) else answer
            raise DidNotStartError(
                f"{mesh.gateway}/ does not answer 200 after {PATIENCE:g} s (last: {said}): "
                f"see `weft status --state {mesh.layout.state}` and {mesh.layout.state / 'log'}"
            )
        await asyncio.sleep(LOOK)
    began = time.monotonic()
    answer = await call("GET", f"{mesh.gateway}/")
    took = (time.monotonic() - began) * 1000
    web = answer.json()
    api = web["api"]
    assert isinstance(api, dict)
    return (
        f"GET {mesh.gateway}/  {answer.status} in {took:.1f} ms: gateway → web ({web['instance']}) → "
        f"api ({api['instance']}, {api['version']}), each hop over mutual TLS"
    )


async def _try(mesh: DevMesh) -> Answer | OSError:
    try:
        return await call("GET", f"{mesh.gateway}/", timeout=2.0)
    except OSError as error:
        return error
