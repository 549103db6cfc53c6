"""The dict's own ways: time that is injected, history that is bounded."""

from __future__ import annotations

from datetime import timedelta

import pytest

from registry.memory import MemoryStore
from registry.store import CompactedError, LeaseLostError, Revision

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_lease_ends_when_the_injected_clock_says_so() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    lease = await store.grant(timedelta(seconds=15))
    await store.put("a", b"", lease=lease.id)
    clock.now = 14.0
    assert await store.keep_alive(lease.id) == timedelta(seconds=15)
    clock.now = 28.9
    assert await store.get("a") is not None
    clock.now = 29.0
    assert await store.get("a") is None
    with pytest.raises(LeaseLostError):
        await store.keep_alive(lease.id)


async def test_history_is_bounded_and_the_present_is_whole() -> None:
    store = MemoryStore(retain=10)
    await store.put("first", b"")
    for number in range(50):
        last = await store.put("a", str(number).encode())
    assert [item.key for item in (await store.list("")).items] == ["a", "first"]
    with pytest.raises(CompactedError):
        await store.list("", revision=Revision(last - 11))
    old = await store.list("", revision=Revision(last - 3))
    assert [item.value for item in old.items] == [b"46", b""]


async def test_the_future_cannot_be_listed_or_compacted() -> None:
    store = MemoryStore()
    with pytest.raises(ValueError, match="has not happened"):
        await store.list("", revision=Revision(9))
    with pytest.raises(ValueError, match="has not happened"):
        store.compact(Revision(9))
    with pytest.raises(ValueError, match="list first"):
        async with store.watch("", start=Revision(0)):
            pass
