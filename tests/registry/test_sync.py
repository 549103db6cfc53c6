"""Followers list, follow, and list again exactly when what they know may be incomplete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager

import pytest

from registry.memory import MemoryStore
from registry.store import Batch, Item, Listing, Revision, Store, StoreUnavailableError
from registry.sync import Changed, Pace, Relisted, Stale, Update, follow

pytestmark = pytest.mark.anyio


async def take(updates: AsyncGenerator[Update, None], count: int) -> list[Update]:
    async with asyncio.timeout(10):
        return [await anext(updates) for _ in range(count)]


async def test_first_the_list_then_every_change_once() -> None:
    store = MemoryStore()
    await store.put("a/1", b"x")
    async with aclosing(follow(store, ["a/"])) as updates:
        [first] = await take(updates, 1)
        assert isinstance(first, Relisted)
        assert [item.key for item in first.listing.items] == ["a/1"]
        await store.put("b/1", b"")
        revisions = [await store.put("a/1", b"y"), await store.delete("a/1")]
        changes = await take(updates, 2)
    assert [change.batch.revision for change in changes if isinstance(change, Changed)] == revisions


async def test_a_compaction_that_overtakes_a_follower_makes_it_list_again() -> None:
    store = MemoryStore()
    async with aclosing(follow(store, ["a/"])) as updates:
        await take(updates, 1)
        await store.put("a/1", b"1")
        await take(updates, 1)
        for number in range(9):
            last = await store.put("a/1", str(number).encode())
        store.compact(last)
        found = await take(updates, 1)
        while not isinstance(found[-1], Relisted):
            found += await take(updates, 1)
    assert found[-1].listing.items[0].value == b"8"


async def test_a_steady_follower_lists_again_from_time_to_time() -> None:
    store = MemoryStore()
    pace = Pace(quiet=0.02, relist_every=0.05)
    async with aclosing(follow(store, ["a/"], pace=pace)) as updates:
        found = await take(updates, 3)
    assert all(isinstance(update, Relisted) for update in found)


class Faulty:
    """The reading half of a store whose answers fail while `away` is set, and whose watches then fall silent."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.away = False

    async def list(self, *prefixes: str) -> Listing:
        self._fail()
        return await self._store.list(*prefixes)

    async def get(self, key: str) -> Item | None:
        self._fail()
        return await self._store.get(key)

    def watch(self, *prefixes: str, start: Revision) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        return self._watch(*prefixes, start=start)

    @asynccontextmanager
    async def _watch(self, *prefixes: str, start: Revision) -> AsyncIterator[AsyncIterator[Batch]]:
        async with self._store.watch(*prefixes, start=start) as batches:
            yield self._unless_away(batches)

    async def _unless_away(self, batches: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
        async for batch in batches:
            if not self.away:
                yield batch

    def _fail(self) -> None:
        if self.away:
            raise StoreUnavailableError("away, as the test wants it")


def faulty(store: MemoryStore) -> tuple[Faulty, Store]:
    made = Faulty(store)
    return made, made  # type: ignore[return-value]


async def test_a_store_that_is_away_makes_the_view_stale_and_nothing_is_forgotten() -> None:
    fault, store = faulty(MemoryStore())
    now = 100.0
    pace = Pace(quiet=0.02, relist_after=30.0)
    async with aclosing(follow(store, ["a/"], pace=pace, clock=lambda: now)) as updates:
        await take(updates, 1)
        fault.away = True
        now = 110.0
        [stale] = await take(updates, 1)
        assert stale == Stale(100.0)
        now = 131.0
        fault.away = False
        found = await take(updates, 1)
        while isinstance(found[-1], Stale):
            found += await take(updates, 1)
    assert isinstance(found[-1], Relisted)


async def test_a_store_that_is_away_from_the_start_is_waited_for() -> None:
    fault, store = faulty(MemoryStore())
    fault.away = True
    async with aclosing(follow(store, ["a/"], pace=Pace(backoff_first=0.001))) as updates:
        assert isinstance((await take(updates, 1))[0], Stale)
        fault.away = False
        found = await take(updates, 1)
        while isinstance(found[-1], Stale):
            found += await take(updates, 1)
    assert isinstance(found[-1], Relisted)
