"""What a host writes to the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.announcer import Announcer
from proxy.mesh import Mesh
from registry import keys
from registry.memory import MemoryStore
from registry.model import Host
from registry.store import NO_LEASE, LeaseId, NoSpaceError, Revision

pytestmark = pytest.mark.anyio

HOST = Host("vm-1", "boot", ("10.0.0.1",), "", {}, "owner")


class Picky(MemoryStore):
    """A store that never takes one key."""

    async def put(self, key: str, value: bytes, *, lease: LeaseId = NO_LEASE) -> Revision:
        if key.endswith("/refused"):
            raise NoSpaceError("no space for this one")
        return await super().put(key, value, lease=lease)


@asynccontextmanager
async def announcing(store: MemoryStore, directory: Path) -> AsyncIterator[Announcer]:
    """An announcer at work on a mesh that is known to be its own."""
    announcer = Announcer(clock=lambda: 0.0, changed=lambda: None, buried=lambda key: None)
    mesh = Mesh(directory / "view", clock=lambda: 0.0, changed=lambda: None)
    mesh.listed.set()
    running = asyncio.create_task(announcer.run(store, mesh, HOST, lease=LeaseId(7), ttl=timedelta(seconds=15)))
    try:
        yield announcer
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_key_that_is_never_taken_holds_back_no_other(tmp_path: Path) -> None:
    store = Picky()
    async with announcing(store, tmp_path) as announcer, asyncio.timeout(5):
        announcer.tell("registry/a/b/refused", b"{}")
        announcer.tell("registry/a/b/taken", b"{}")
        assert await announcer.stored("registry/a/b/taken")
        assert await announcer.stored(keys.host("vm-1"))
        assert announcer.revision("registry/a/b/refused") is None


async def test_registrations_are_written_before_the_host_that_says_these_are_all(tmp_path: Path) -> None:
    store = MemoryStore()
    async with announcing(store, tmp_path) as announcer, asyncio.timeout(5):
        announcer.tell("registry/z/z/z", b"{}")
        host = await announcer.stored(keys.host("vm-1"))
        instance = announcer.revision("registry/z/z/z")
        assert instance is not None
        assert host is not None
        assert instance < host
