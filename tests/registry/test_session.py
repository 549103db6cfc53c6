"""A host's keys are there while it lives, whatever the store forgets or others do to them."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest

from registry.memory import MemoryStore
from registry.session import Session, lease_id
from registry.store import LeaseId, Revision

pytestmark = pytest.mark.anyio

LEASE = LeaseId(7)
TTL = timedelta(seconds=0.3)


def session(store: MemoryStore) -> Session:
    return Session(store, lease=LEASE, ttl=TTL, rng=random.Random(1))


async def until_there(store: MemoryStore, key: str, value: bytes) -> None:
    async with asyncio.timeout(5), store.watch(key, start=Revision(1)) as batches:
        while (item := await store.get(key)) is None or item.value != value or item.lease != LEASE:
            await anext(batches)


async def test_keys_outlive_the_ttl_while_the_scope_is_open_and_are_left_when_it_closes() -> None:
    store = MemoryStore()
    async with session(store) as held:
        await held.put("registry/a", b"1")
        await asyncio.sleep(3 * TTL.total_seconds())
        await until_there(store, "registry/a", b"1")
    assert await store.get("registry/a") is not None


async def test_a_restart_adopts_the_lease() -> None:
    store = MemoryStore()
    async with session(store) as first:
        created = await first.put("registry/a", b"1")
    async with session(store) as second:
        await second.put("registry/b", b"1")
        item = await store.get("registry/a")
    assert item is not None
    assert (item.create_revision, item.lease) == (created, LEASE)


async def test_a_lost_lease_is_taken_again_and_everything_written_anew_the_host_after_its_registrations() -> None:
    store = MemoryStore()
    async with session(store) as held:
        for key in ("hosts/h", "ack/h", "registry/a", "registry/b"):
            last = await held.put(key, b"1")
        await store.revoke(LEASE)
        await until_there(store, "ack/h", b"1")
        listing = await store.list("")
    assert {item.key for item in listing.items} == {"hosts/h", "ack/h", "registry/a", "registry/b"}
    assert all(item.create_revision > last for item in listing.items)


async def test_a_put_under_a_lost_lease_restores_all() -> None:
    store = MemoryStore()
    async with session(store) as held:
        await held.put("registry/a", b"1")
        await store.revoke(LEASE)
        await held.put("registry/b", b"2")
        assert [item.key for item in (await store.list("")).items] == ["registry/a", "registry/b"]


async def test_a_key_that_somebody_edits_or_deletes_is_put_back() -> None:
    store = MemoryStore()
    async with session(store) as held:
        await held.put("registry/a", b"1")
        await held.put("registry/b", b"1")
        await store.put("registry/a", b"rubbish")
        await store.delete("registry/b")
        await until_there(store, "registry/a", b"1")
        await until_there(store, "registry/b", b"1")


async def test_a_key_that_was_given_up_is_not_put_back() -> None:
    store = MemoryStore()
    async with session(store) as held:
        await held.put("registry/a", b"1")
        await held.put("registry/b", b"1")
        await held.remove("registry/a")
        await held.forget("registry/b")
        await store.put("registry/b", b"tombstone")
        await store.revoke(LEASE)
        await held.put("registry/c", b"1")
        listing = await store.list("")
    assert {item.key: item.value for item in listing.items} == {"registry/b": b"tombstone", "registry/c": b"1"}


async def test_ending_gives_the_lease_up() -> None:
    store = MemoryStore()
    async with session(store) as held:
        await held.put("registry/a", b"1")
        await held.end()
        assert (await store.list("")).items == ()


def test_a_lease_follows_from_the_host_and_no_other_has_it() -> None:
    own = lease_id("/weft/", "h1", "boot", "uuid")
    assert own == lease_id("/weft/", "h1", "boot", "uuid")
    others = [
        lease_id("/other/", "h1", "boot", "uuid"),
        lease_id("/weft/", "h2", "boot", "uuid"),
        lease_id("/weft/", "h1", "next boot", "uuid"),
        lease_id("/weft/", "h1", "boot", "clone"),
    ]
    assert len({own, *others}) == 5
    assert all(0 < one < 1 << 63 for one in others)
