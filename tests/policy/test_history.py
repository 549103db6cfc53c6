"""The log of changes: read in order, kept by count and by age."""

from __future__ import annotations

import pytest

from policy import records
from policy.history import KEEP_SECONDS, history, trim_log
from policy.records import LogEntry
from registry import keys
from registry.election import Leadership
from registry.keys import DocumentKey
from registry.memory import MemoryStore
from registry.store import Revision, Store

pytestmark = pytest.mark.anyio

A, B = DocumentKey("shop", "route", "a"), DocumentKey("shop", "route", "b")
NOW = 10 * KEEP_SECONDS


async def logged(store: Store, *, ages: list[float]) -> Leadership:
    for number, age in enumerate(ages, start=9):
        entry = LogEntry(f"text {number}", NOW - age)
        await store.put(keys.log(number, A if number % 2 else B), records.encode(entry))
    revision = await store.put("elect/compiler/1", b"")
    return Leadership("elect/compiler/1", revision)


async def test_the_log_is_read_in_the_order_of_revisions(store: Store) -> None:
    await logged(store, ages=[0.0, 0.0, 0.0])
    await store.put("log/rubbish", b"")
    assert [(entry.revision, entry.key) for entry in await history(store)] == [(9, A), (10, B), (11, A)]
    assert [entry.change.document for entry in await history(store, A)] == ["text 9", "text 11"]


@pytest.mark.parametrize(
    ("ages", "keep", "left"),
    [
        ([0.0, 0.0, 0.0], 3, [9, 10, 11]),
        ([0.0, 0.0, 0.0], 2, [10, 11]),
        ([KEEP_SECONDS + 1, KEEP_SECONDS + 1, 0.0], 9, [11]),
        ([0.0, KEEP_SECONDS + 1], 9, [9, 10]),  # nothing younger goes before what is older in the log
        ([0.0] * 150, 10, list(range(109, 159))),  # a hundred at a time
    ],
)
async def test_the_log_is_trimmed_from_its_oldest_end(ages: list[float], keep: int, left: list[int]) -> None:
    store = MemoryStore()
    leadership = await logged(store, ages=ages)
    await trim_log(store, leadership, now=NOW, keep=keep)
    assert [entry.revision for entry in await history(store)] == left


async def test_an_entry_that_cannot_be_read_goes_like_an_old_one() -> None:
    store = MemoryStore()
    leadership = await logged(store, ages=[0.0, 0.0])
    await store.put(keys.log(1, A), b"rubbish")
    assert await trim_log(store, leadership, now=NOW) == 1
    assert [entry.revision for entry in await history(store)] == [9, 10]


async def test_a_deposed_leader_trims_nothing(store: Store) -> None:
    leadership = await logged(store, ages=[0.0, 0.0])
    deposed = Leadership(leadership.key, Revision(leadership.create_revision + 1))
    await trim_log(store, deposed, now=NOW, keep=1)
    assert len(await history(store)) == 2
