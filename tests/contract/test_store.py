"""The contract of a store, held by the dict and by a real etcd alike."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest

from registry.etcd import EtcdConfig, EtcdStore
from registry.memory import MemoryStore
from registry.store import (
    Batch,
    CompactedError,
    Compare,
    Delete,
    Event,
    InvalidTransaction,
    LeaseId,
    LeaseLostError,
    Operation,
    Put,
    Revision,
    Store,
    StoreUnavailableError,
)
from tests.support.etcd import EtcdProcess

pytestmark = pytest.mark.anyio

Compact = Callable[[Revision], Awaitable[None]]


@pytest.fixture(params=["memory", "etcd"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Each implementation, empty below its root."""
    made: Store = (
        MemoryStore() if request.param == "memory" else await EtcdStore.connect(request.getfixturevalue("etcd_config"))
    )
    yield made
    await made.close()


@pytest.fixture
def compact(request: pytest.FixtureRequest, store: Store) -> Compact:
    """How the store under test forgets what was before a revision."""

    async def forget(revision: Revision) -> None:
        if isinstance(store, MemoryStore):
            store.compact(revision)
        else:
            process: EtcdProcess = request.getfixturevalue("etcd")
            await asyncio.to_thread(process.compact, revision)

    return forget


async def told(batches: AsyncIterator[Batch], count: int) -> list[Batch]:
    """The next batches that hold events."""
    found: list[Batch] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            batch = await anext(batches)
            if batch.events:
                found.append(batch)
    return found


def keys_of(batch: Batch) -> list[str]:
    return sorted(event.key for event in batch.events)


async def test_what_was_put_is_there_with_its_revisions(store: Store) -> None:
    first = await store.put("a/1", b"one")
    second = await store.put("a/1", b"two")
    item = await store.get("a/1")
    assert item is not None
    assert (item.key, item.value, item.version) == ("a/1", b"two", 2)
    assert (item.create_revision, item.mod_revision) == (first, second)
    assert await store.get("a") is None


async def test_a_key_that_comes_back_counts_from_the_start(store: Store) -> None:
    await store.put("a", b"1")
    await store.delete("a")
    created = await store.put("a", b"2")
    item = await store.get("a")
    assert item is not None
    assert (item.version, item.create_revision) == (1, created)


async def test_a_list_has_each_item_once_in_key_order(store: Store) -> None:
    for key in ("b/2", "a/1", "b/1", "c/1", "b"):
        await store.put(key, key.encode())
    listing = await store.list("b/", "a/", "b/1", "d/")
    assert [item.key for item in listing.items] == ["a/1", "b/1", "b/2"]
    assert [item.value for item in listing.items] == [b"a/1", b"b/1", b"b/2"]
    bare = await store.list("a/", keys_only=True)
    assert [(item.key, item.value) for item in bare.items] == [("a/1", b"")]


async def test_a_list_of_nothing_has_the_present_revision(store: Store) -> None:
    revision = await store.put("a", b"")
    listing = await store.list("nothing/")
    assert listing.items == ()
    assert listing.revision >= revision


async def test_the_past_can_be_listed(store: Store) -> None:
    await store.put("a/1", b"old")
    before = await store.put("a/2", b"")
    await store.put("a/1", b"new")
    await store.delete("a/2")
    listing = await store.list("a/", revision=before)
    assert listing.revision == before
    assert [(item.key, item.value) for item in listing.items] == [("a/1", b"old"), ("a/2", b"")]


async def test_deleting_below_a_prefix_is_one_revision(store: Store) -> None:
    for key in ("a/1", "a/2", "b/1"):
        last = await store.put(key, b"")
    async with store.watch("a/", start=Revision(last + 1)) as batches:
        revision = await store.delete("a/", prefix=True)
        [batch] = await told(batches, 1)
    assert batch == Batch(revision, (Event("a/1", revision, None), Event("a/2", revision, None)))
    assert [item.key for item in (await store.list("")).items] == ["b/1"]


async def test_a_transaction_applies_when_every_guard_holds(store: Store) -> None:
    created = await store.put("a", b"1")
    changed = await store.put("a", b"2")
    guards = [
        Compare("a", create_revision=created),
        Compare("a", mod_revision=changed),
        Compare("a", value=b"2"),
        Compare("b", create_revision=Revision(0)),
        Compare("b", mod_revision=Revision(0)),
    ]
    done = await store.transact(guards, [Put("b", b"x"), Delete("a")], [Put("c", b"y")])
    assert done.applied
    assert {item.key: item.mod_revision for item in (await store.list("")).items} == {"b": done.revision}


@pytest.mark.parametrize(
    "guard",
    [
        Compare("a", create_revision=Revision(0)),
        Compare("a", mod_revision=Revision(1)),
        Compare("a", value=b"other"),
        Compare("missing", value=b""),
    ],
    ids=str,
)
async def test_a_transaction_does_the_other_thing_when_a_guard_fails(store: Store, guard: Compare) -> None:
    await store.put("a", b"1")
    done = await store.transact([Compare("a", value=b"1"), guard], [Put("b", b"")], [Put("c", b"")])
    assert not done.applied
    assert [item.key for item in (await store.list("b", "c")).items] == ["c"]


async def test_a_transaction_that_no_store_takes_is_refused_before_it_is_sent(store: Store) -> None:
    refused: tuple[list[Operation], ...] = (
        [Put("a", b""), Put("a", b"")],
        [Put("a/1", b""), Delete("a/", prefix=True)],
        [Put(str(number), b"") for number in range(101)],
        [Put("a", b"x" * 1_000_001)],
    )
    for operations in refused:
        with pytest.raises(InvalidTransaction):
            await store.transact([], operations)
    with pytest.raises(InvalidTransaction):
        await store.transact([Compare("a")], [])
    assert (await store.list("")).items == ()


async def test_a_transaction_of_the_largest_size_is_taken(store: Store) -> None:
    operations = [Put(f"a/{number:03d}", b"x" * 9_900) for number in range(100)]
    done = await store.transact([], operations)
    listing = await store.list("a/")
    assert {item.mod_revision for item in listing.items} == {done.revision}
    assert len(listing.items) == 100


async def test_a_watch_tells_every_revision_from_its_start_once_and_whole(store: Store) -> None:
    first = await store.put("a/1", b"1")
    second = (await store.transact([], [Put("a/2", b""), Put("b/1", b""), Put("c/1", b""), Delete("a/1")])).revision
    async with store.watch("a/", "b/", start=first) as batches:
        assert [(batch.revision, keys_of(batch)) for batch in await told(batches, 2)] == [
            (first, ["a/1"]),
            (second, ["a/1", "a/2", "b/1"]),
        ]
        await store.put("c/2", b"")
        third = await store.put("b/1", b"again")
        [batch] = await told(batches, 1)
    [event] = batch.events
    assert (event.key, event.revision) == ("b/1", third)
    assert event.item is not None
    assert (event.item.value, event.item.version, event.item.create_revision) == (b"again", 2, second)


async def test_a_watch_of_a_prefix_within_another_tells_nothing_twice(store: Store) -> None:
    revision = await store.put("a/b/1", b"")
    async with store.watch("a/", "a/b/", "a/", start=revision) as batches:
        [batch] = await told(batches, 1)
    assert keys_of(batch) == ["a/b/1"]


async def test_a_quiet_watch_tells_progress(store: Store) -> None:
    revision = await store.put("elsewhere", b"")
    async with store.watch("a/", "b/", start=Revision(revision + 1)) as batches, asyncio.timeout(10):
        batch = await anext(batches)
    assert batch.events == ()
    assert batch.revision >= revision


async def test_a_watch_of_a_compacted_revision_asks_for_a_new_list(store: Store, compact: Compact) -> None:
    old = await store.put("a/1", b"1")
    for number in range(5):
        last = await store.put("a/1", str(number).encode())
    await compact(last)
    with pytest.raises(CompactedError):
        async with store.watch("a/", start=old) as batches:
            await told(batches, 1)
    with pytest.raises(CompactedError):
        await store.list("a/", revision=old)
    listing = await store.list("a/")
    async with store.watch("a/", start=Revision(listing.revision + 1)) as batches:
        revision = await store.put("a/2", b"")
        assert [batch.revision for batch in await told(batches, 1)] == [revision]


async def test_a_lease_that_ends_takes_its_keys_in_one_revision(store: Store) -> None:
    lease = await store.grant(timedelta(seconds=1))
    await store.put("a/1", b"", lease=lease.id)
    last = await store.put("a/2", b"", lease=lease.id)
    async with store.watch("a/", start=Revision(last + 1)) as batches:
        [batch] = await told(batches, 1)
    assert [(event.key, event.item) for event in batch.events] == [("a/1", None), ("a/2", None)]
    with pytest.raises(LeaseLostError):
        await store.keep_alive(lease.id)
    with pytest.raises(LeaseLostError):
        await store.put("a/3", b"", lease=lease.id)


async def test_a_lease_kept_alive_outlives_its_ttl(store: Store) -> None:
    lease = await store.grant(timedelta(seconds=1))
    await store.put("a", b"", lease=lease.id)
    for _ in range(8):
        await asyncio.sleep(lease.ttl.total_seconds() / 4)
        assert await store.keep_alive(lease.id) > timedelta(0)
    item = await store.get("a")
    assert item is not None
    assert item.lease == lease.id


async def test_a_lease_is_adopted_under_its_id(store: Store) -> None:
    wanted = LeaseId(secrets.randbits(62) + 1)
    first = await store.grant(timedelta(seconds=30), lease=wanted)
    await store.put("a", b"", lease=first.id)
    again = await store.grant(timedelta(seconds=30), lease=wanted)
    assert again == first
    assert await store.get("a") is not None
    await store.revoke(wanted)
    assert await store.get("a") is None
    await store.revoke(wanted)


async def test_a_key_put_again_without_its_lease_survives_it(store: Store) -> None:
    lease = await store.grant(timedelta(seconds=30))
    await store.put("a", b"", lease=lease.id)
    await store.put("a", b"")
    await store.revoke(lease.id)
    assert await store.get("a") is not None


async def test_a_transaction_under_a_lost_lease_changes_nothing(store: Store) -> None:
    with pytest.raises(LeaseLostError):
        await store.transact([], [Put("a", b""), Put("b", b"", lease=LeaseId(4242))])
    assert (await store.list("")).items == ()


async def test_a_closed_store_is_unavailable(store: Store) -> None:
    revision = await store.put("a", b"")
    async with store.watch("b/", start=revision) as batches:
        waiting = asyncio.ensure_future(told(batches, 1))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(StoreUnavailableError):
            await waiting
    with pytest.raises(StoreUnavailableError):
        await store.get("a")


async def test_stores_below_different_roots_do_not_meet(etcd_config: EtcdConfig) -> None:
    one = await EtcdStore.connect(etcd_config)
    other = await EtcdStore.connect(EtcdConfig(etcd_config.endpoints, root=f"{etcd_config.root}other/"))
    await other.put("a", b"")
    assert await one.get("a") is None
    assert [item.key for item in (await one.list("")).items] == ["other/a"]
    await one.close()
    await other.close()
