"""One leads at a time, the oldest candidate next, and whoever was deposed cannot write."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from registry.election import Leadership, campaign
from registry.memory import MemoryStore
from registry.store import Compare, LeaseId, Put, Revision

pytestmark = pytest.mark.anyio

LONG = timedelta(seconds=60)


async def lead(
    store: MemoryStore, name: str, leading: asyncio.Queue[tuple[str, Leadership]], end: asyncio.Event
) -> None:
    async with campaign(store, "controller", name, ttl=LONG) as leadership:
        await leading.put((name, leadership))
        await end.wait()


async def test_candidates_lead_one_after_another_in_the_order_they_came() -> None:
    store = MemoryStore()
    leading: asyncio.Queue[tuple[str, Leadership]] = asyncio.Queue()
    ends = [asyncio.Event() for _ in range(3)]
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        for name, end in zip("abc", ends, strict=True):
            tasks.create_task(lead(store, name, leading, end))
            async with store.watch("elect/", start=Revision(1)) as batches:
                while len((await store.list("elect/")).items) <= "abc".index(name):
                    await anext(batches)
        order = []
        for end in ends:
            name, leadership = await leading.get()
            assert leading.empty()
            order.append((name, leadership.create_revision))
            end.set()
    assert [name for name, _ in order] == ["a", "b", "c"]
    assert order == sorted(order, key=lambda entry: entry[1])
    assert (await store.list("elect/")).items == ()


async def test_a_deposed_leader_cannot_write() -> None:
    store = MemoryStore()
    async with AsyncExitStack() as scopes:
        first = await scopes.enter_async_context(campaign(store, "controller", "a", ttl=LONG))
        guard = [Compare(first.key, create_revision=first.create_revision)]
        assert (await store.transact(guard, [Put("compiled/head", b"1")])).applied
        item = await store.get(first.key)
        assert item is not None
        await store.revoke(item.lease)
        second = await scopes.enter_async_context(campaign(store, "controller", "a", ttl=LONG))
        assert not (await store.transact(guard, [Put("compiled/head", b"2")])).applied
        assert second.create_revision > first.create_revision


async def test_a_leader_whose_lease_is_gone_is_told() -> None:
    store = MemoryStore()
    async with campaign(store, "controller", "a", ttl=timedelta(seconds=0.3)) as leadership:
        assert not leadership.lost.is_set()
        item = await store.get(leadership.key)
        assert item is not None
        assert item.lease != LeaseId(0)
        await store.revoke(item.lease)
        async with asyncio.timeout(5):
            await leadership.lost.wait()
