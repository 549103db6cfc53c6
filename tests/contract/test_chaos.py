"""Followers of a three-member etcd that is killed, frozen and compacted while it is written to.

Every picture a follower reports is compared with what etcd held at that revision. etcd itself forgets (it is compacted
all the while), so the writers keep the history: each guards its transactions by a key of its own, so that the answer, or
else the next attempt, tells whether and at which revision each one happened.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from registry.etcd import EtcdConfig, EtcdStore
from registry.store import Compare, Delete, Event, Operation, Put, Revision, Store, StoreError
from registry.sync import Changed, Relisted, follow
from tests.support.etcd import EtcdProcess, etcd_cluster, etcd_version

pytestmark = pytest.mark.anyio

SOAK = os.environ.get("WEFT_SOAK") == "1"
ROUNDS = 30 if SOAK else 1
FOLLOWERS = 5
WRITERS = 8
PAUSE = 0.025
SLOTS = 40
PREFIXES = ("left/", "right/", "writer/")

BEFORE_ALL = Revision(0)

Picture = dict[str, bytes]


class Writer:
    """Transactions over two prefixes, one after another, each accounted for."""

    def __init__(self, store: Store, number: int, history: dict[Revision, list[Operation]]) -> None:
        self._store = store
        self._key = f"writer/{number}"
        self._history = history
        self._choice = random.Random(number)
        self._guard = Revision(0)
        self._unsure: dict[bytes, list[Operation]] = {}
        self._count = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set() or self._unsure:
            with suppress(StoreError):
                await self._write()
            await asyncio.sleep(PAUSE)

    async def _write(self) -> None:
        """Either this attempt happens or one of the unsure before it: all of them compare the same revision."""
        self._count += 1
        value = f"{self._key}:{self._count}".encode()
        operations = self._operations(value)
        self._unsure[value] = operations
        done = await self._store.transact([Compare(self._key, mod_revision=self._guard)], operations)
        if done.applied:
            self._settle(done.revision, operations)
            return
        item = await self._store.get(self._key)
        assert item is not None
        self._settle(item.mod_revision, self._unsure[item.value])

    def _settle(self, revision: Revision, operations: list[Operation]) -> None:
        assert revision not in self._history, f"two transactions at revision {revision}"
        self._history[revision] = operations
        self._guard = revision
        self._unsure.clear()

    def _operations(self, value: bytes) -> list[Operation]:
        slots = self._choice.sample(range(SLOTS), 3)
        operations: list[Operation] = [Put(self._key, value)]
        for slot in slots[:2]:
            operations += [Put(f"left/{slot}", value), Put(f"right/{slot}", value)]
        return [*operations, Delete(f"left/{slots[2]}"), Delete(f"right/{slots[2]}")]


@dataclass
class Report:
    """What one follower said: a digest of its picture at each revision, and which of them came from a relist."""

    pictures: dict[Revision, int] = field(default_factory=dict)
    relisted: list[Revision] = field(default_factory=list)
    changed: list[Revision] = field(default_factory=list)
    torn: list[Revision] = field(default_factory=list)
    fallen: list[Revision] = field(default_factory=list)
    latest: Revision = BEFORE_ALL
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, revision: Revision, picture: Picture) -> None:
        if revision < self.latest:
            self.fallen.append(revision)
        self.latest = revision
        self.moved.set()
        sides = [{key[5:] for key in picture if key.startswith("left/")}]
        sides += [{key[6:] for key in picture if key.startswith("right/")}]
        if sides[0] != sides[1] or any(picture[f"left/{slot}"] != picture[f"right/{slot}"] for slot in sides[0]):
            self.torn.append(revision)
        self.pictures[revision] = digest(picture)


async def watch_and_report(store: Store, report: Report) -> None:
    """A follower as every part of Weft is one."""
    picture: Picture = {}
    async with aclosing(follow(store, PREFIXES)) as updates:
        async for update in updates:
            if isinstance(update, Relisted):
                picture = {item.key: item.value for item in update.listing.items}
                report.relisted.append(update.listing.revision)
                report.take(update.listing.revision, picture)
            elif isinstance(update, Changed):
                fold(picture, update.batch.events)
                report.changed.append(update.batch.revision)
                report.take(update.batch.revision, picture)


def fold(picture: Picture, events: Iterable[Event]) -> None:
    for event in events:
        if event.item is None:
            picture.pop(event.key, None)
        else:
            picture[event.key] = event.item.value


def digest(picture: Picture) -> int:
    return hash(frozenset(picture.items()))


def digests(history: dict[Revision, list[Operation]], last: Revision) -> dict[Revision, int]:
    """What etcd held at every revision, from the writers' own account."""
    picture: Picture = {}
    found = {}
    for number in range(1, last + 1):
        for operation in history.get(Revision(number), []):
            if isinstance(operation, Put):
                picture[operation.key] = operation.value
            else:
                picture.pop(operation.key, None)
        found[Revision(number)] = digest(picture)
    return found


@asynccontextmanager
async def stores(members: list[EtcdProcess], count: int) -> AsyncIterator[list[EtcdStore]]:
    """Clients that know all members, each starting with another one."""
    urls = [member.url for member in members]
    made = [await EtcdStore.connect(EtcdConfig(urls[turn % 3 :] + urls[: turn % 3])) for turn in range(count)]
    try:
        yield made
    finally:
        for store in made:
            await store.close()


async def compact_steadily(members: list[EtcdProcess], reports: list[Report]) -> None:
    """Leave only the last few dozen revisions, so that whoever was away too long must list again."""
    while True:
        await asyncio.sleep(0.7)
        await compact(random.choice(members), max(report.latest for report in reports) - 30)


async def compact(member: EtcdProcess, revision: int) -> None:
    with suppress(subprocess.SubprocessError):  # it may be gone, or somebody else was faster
        await asyncio.to_thread(member.compact, revision)


async def hurt(members: list[EtcdProcess], reports: list[Report], choice: random.Random) -> None:
    """kill -9 one, freeze another past every deadline and forget what it missed, kill the third; two live at any time."""
    first, second, third = choice.sample(members, 3)
    await asyncio.sleep(1.0)
    first.kill()
    await asyncio.sleep(1.0)
    await asyncio.to_thread(first.restart)
    second.freeze()
    await asyncio.sleep(2.0)
    await compact(first, max(report.latest for report in reports))
    await asyncio.sleep(4.0)
    second.thaw()
    await asyncio.sleep(0.5)
    third.kill()
    await asyncio.sleep(0.5)
    await asyncio.to_thread(third.restart)


async def test_every_view_equals_etcd_at_its_revision_whatever_is_killed_frozen_or_compacted(tmp_path: Path) -> None:
    history: dict[Revision, list[Operation]] = {}
    reports = [Report() for _ in range(FOLLOWERS)]
    stop = asyncio.Event()
    with etcd_cluster(tmp_path, members=3) as members:
        async with stores(members, FOLLOWERS + WRITERS) as clients, asyncio.TaskGroup() as background:
            following = [
                background.create_task(watch_and_report(store, report))
                for store, report in zip(clients, reports, strict=False)
            ]
            async with asyncio.TaskGroup() as writing:
                for number, store in enumerate(clients[FOLLOWERS:]):
                    writing.create_task(Writer(store, number, history).run(stop))
                compacting = writing.create_task(compact_steadily(members, reports))
                for turn in range(ROUNDS):
                    await hurt(members, reports, random.Random(turn))
                compacting.cancel()
                stop.set()
            last = max(history)
            async with asyncio.timeout(30):
                for report in reports:
                    while report.latest < last:
                        report.moved.clear()
                        await report.moved.wait()
            for task in following:
                task.cancel()

    assert len(history) > 200 * ROUNDS, "too little was written to prove anything"
    truth = digests(history, max(report.latest for report in reports))
    for report in reports:
        assert report.fallen == []
        if etcd_version() < (3, 5, 0):
            print("etcd 3.4 may drop events around a compaction: only listings are compared with it")
            compared = set(report.relisted)
        else:
            compared = set(report.pictures)
            assert report.torn == []
        assert [revision for revision in sorted(compared) if report.pictures[revision] != truth[revision]] == []
        assert len(report.changed) > len(report.relisted), "the followers listed instead of following"
    assert any(len(report.relisted) > 1 for report in reports), "nobody was overtaken by a compaction"
    print(f"{len(history)} transactions; relists {[len(report.relisted) for report in reports]}")


def test_a_torn_picture_is_noticed() -> None:
    report = Report()
    report.take(Revision(2), {"left/1": b"a", "right/1": b"a"})
    report.take(Revision(3), {"left/1": b"b", "right/1": b"a"})
    report.take(Revision(4), {"left/1": b"b"})
    assert report.torn == [3, 4]
