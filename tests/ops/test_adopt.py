"""Who holds on to a mesh that is gone is made to let go of it."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path

import pytest

from ops.cli.app import run
from proxy.mesh import Mesh
from registry import keys, layout
from registry.layout import Layout
from registry.memory import MemoryStore

pytestmark = pytest.mark.anyio


async def store_of(made: Layout) -> MemoryStore:
    store = MemoryStore()
    await store.put(keys.META_LAYOUT, layout.encode(made))
    return store


async def seen(path: Path, store: MemoryStore) -> Mesh:
    """A host's view of the store, once it is made."""
    changed = asyncio.Event()
    mesh = Mesh(path, clock=lambda: 0.0, changed=changed.set)
    following = asyncio.create_task(mesh.run(store))
    async with asyncio.timeout(5):
        while not mesh.listed.is_set() and not mesh.objection:
            await changed.wait()
            changed.clear()
        while not path.exists():  # noqa: ASYNC110, ASYNC240 - a file has no event
            await asyncio.sleep(0.01)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    return mesh


async def test_another_mesh_is_taken_after_adopt_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "view.msgpack"
    one, other = Layout.new("corp", "dc1"), Layout.new("corp", "dc1")
    assert (await seen(path, await store_of(one))).layout == one
    assert "weft adopt" in (await seen(path, await store_of(other))).objection
    assert run(["adopt", str(tmp_path)]) == 0
    assert (await seen(path, await store_of(other))).layout == other
    assert (tmp_path / "view.msgpack.before").exists()


def test_a_running_agent_is_not_robbed_of_what_it_knows(tmp_path: Path) -> None:
    (tmp_path / "view.msgpack").write_bytes(b"kept")
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(["adopt", str(tmp_path)]) == 5
    assert (tmp_path / "view.msgpack").read_bytes() == b"kept"


def test_who_holds_on_to_nothing_is_told(tmp_path: Path) -> None:
    assert run(["adopt", str(tmp_path)]) == 1
