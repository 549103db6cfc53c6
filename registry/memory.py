"""The store in a dict: for unit tests, and for a mesh without etcd.

It keeps what etcd keeps, so that one contract suite holds for both: one revision for every change, history back to the
last compaction, leases that end, transactions that are one revision, watches that resume from any revision still known.
Nothing runs in the background: leases end when somebody looks, and a waiting watch looks at the moment the next lease
is due. Time is an argument; whoever injects a clock that does not move by itself calls `sweep` after moving it.

How it fails: as the Protocols of `registry.store` say; it is unavailable only after `close`. One process, one loop.

What it costs: history is bounded (`retain` revisions, then it compacts itself); a watch is one event and a position.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from registry.store import (
    NO_LEASE,
    Batch,
    CompactedError,
    Compare,
    Delete,
    Event,
    Item,
    Lease,
    LeaseId,
    LeaseLostError,
    Listing,
    Operation,
    Put,
    Revision,
    StoreUnavailableError,
    Transaction,
    check_transaction,
)

HEARTBEAT = 2.0
"""Seconds of quiet after which a watch tells progress, as a watch of etcd does."""


@dataclass(slots=True)
class _Granted:
    """A lease in force: how long it lives, when it ends if nobody asks again, and what goes with it."""

    ttl: timedelta
    ends: float
    keys: set[str] = field(default_factory=set)


class MemoryStore:
    """A `Store` in this process. `clock` gives seconds that never go back."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, retain: int = 10_000) -> None:
        self._clock = clock
        self._retain = retain
        self._items: dict[str, Item] = {}
        self._revision = 1
        self._leases: dict[LeaseId, _Granted] = {}
        self._next_lease = 1
        self._base: dict[str, Item] = {}  # as of the revision before the first in `_history`
        self._history: list[Batch] = []  # one for every revision from `_first` on
        self._first = 2
        self._waiting: set[asyncio.Event] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"MemoryStore(revision={self._revision}, items={len(self._items)}, leases={len(self._leases)})"

    # --- keys and values

    async def get(self, key: str) -> Item | None:
        """See `KeyValue.get`."""
        self._look()
        return self._items.get(key)

    async def list(self, *prefixes: str, revision: Revision | None = None, keys_only: bool = False) -> Listing:
        """See `KeyValue.list`."""
        self._look()
        at = Revision(self._revision) if revision is None else revision
        found = (item for item in self._at(at).values() if item.key.startswith(prefixes))
        items = sorted(found, key=lambda item: item.key)
        if keys_only:
            items = [_without_value(item) for item in items]
        return Listing(at, tuple(items))

    async def put(self, key: str, value: bytes, *, lease: LeaseId = NO_LEASE) -> Revision:
        """See `KeyValue.put`."""
        return self._apply([Put(key, value, lease)])

    async def delete(self, key: str, *, prefix: bool = False) -> Revision:
        """See `KeyValue.delete`."""
        return self._apply([Delete(key, prefix)])

    async def transact(
        self, guards: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Transaction:
        """See `KeyValue.transact`."""
        check_transaction(guards, then, otherwise)
        self._look()
        applied = all(_holds(guard, self._items.get(guard.key)) for guard in guards)
        return Transaction(applied, self._apply(then if applied else otherwise))

    # --- leases

    async def grant(self, ttl: timedelta, *, lease: LeaseId | None = None) -> Lease:
        """See `Leases.grant`."""
        self._look()
        if lease is None:
            while LeaseId(self._next_lease) in self._leases:
                self._next_lease += 1
            lease = LeaseId(self._next_lease)
        granted = self._leases.setdefault(lease, _Granted(ttl, 0.0))
        granted.ends = self._clock() + granted.ttl.total_seconds()
        self._wake()
        return Lease(lease, granted.ttl)

    async def keep_alive(self, lease: LeaseId) -> timedelta:
        """See `Leases.keep_alive`."""
        self._look()
        granted = self._leases.get(lease)
        if granted is None:
            raise LeaseLostError(f"lease {lease:x} is gone: grant it and register again")
        granted.ends = self._clock() + granted.ttl.total_seconds()
        return granted.ttl

    async def revoke(self, lease: LeaseId) -> None:
        """See `Leases.revoke`."""
        self._look()
        self._end(lease)

    # --- watches

    @asynccontextmanager
    async def watch(self, *prefixes: str, start: Revision) -> AsyncIterator[AsyncIterator[Batch]]:
        """See `Watches.watch`."""
        if start < 1:
            raise ValueError(f"a watch starts at a revision, not at {start}: list first, and watch from the next")
        self._look()
        changed = asyncio.Event()
        self._waiting.add(changed)
        batches = self._batches(prefixes, start, changed)
        try:
            yield batches
        finally:
            await batches.aclose()
            self._waiting.discard(changed)

    async def _batches(
        self, prefixes: tuple[str, ...], start: int, changed: asyncio.Event
    ) -> AsyncGenerator[Batch, None]:
        position = start
        loop = asyncio.get_running_loop()
        quiet_since: float | None = None
        while True:
            self._look()
            changed.clear()
            if position < self._compacted:
                raise CompactedError(Revision(self._compacted))
            if position > self._revision:
                quiet_since = loop.time() if quiet_since is None else quiet_since
                await self._change(changed)
                if loop.time() >= quiet_since + HEARTBEAT:
                    quiet_since = None
                    yield Batch(Revision(self._revision if position > self._revision else position - 1), ())
                continue
            batch = self._history[position - self._first] if position >= self._first else None
            position += 1
            events = tuple(event for event in batch.events if event.key.startswith(prefixes)) if batch else ()
            if batch and events:
                quiet_since = None
                yield Batch(batch.revision, events)

    async def _change(self, changed: asyncio.Event) -> None:
        """Until something was written, or the next lease is due by a clock that moves, or it was quiet for long."""
        due = min((granted.ends - self._clock() for granted in self._leases.values()), default=HEARTBEAT)
        try:
            async with asyncio.timeout(min(max(due, 0.0) + 0.001, HEARTBEAT)):
                await changed.wait()
        except TimeoutError:
            pass

    # --- the store itself

    async def describe(self) -> str:
        """See `Store.describe`."""
        return "memory"

    async def close(self) -> None:
        """See `Store.close`."""
        self._closed = True
        self._wake()

    def sweep(self) -> None:
        """End the leases that are due."""
        now = self._clock()
        for lease in [lease for lease, granted in self._leases.items() if granted.ends <= now]:
            self._end(lease)

    def compact(self, revision: Revision) -> None:
        """Forget what was before `revision`; it and all later ones can still be listed and watched."""
        if revision > self._revision:
            raise ValueError(f"revision {revision} has not happened yet; the store is at {self._revision}")
        while self._first < revision:
            _fold(self._base, self._history.pop(0))
            self._first += 1

    @property
    def _compacted(self) -> int:
        """The oldest revision that can be read; 2 is the first that anything can have, 1 the empty store."""
        return self._first if self._first > 2 else 0

    def _look(self) -> None:
        if self._closed:
            raise StoreUnavailableError("the memory store is closed")
        self.sweep()

    def _wake(self) -> None:
        for changed in self._waiting:
            changed.set()

    def _at(self, revision: Revision) -> dict[str, Item]:
        if revision == self._revision:
            return self._items
        if revision > self._revision:
            raise ValueError(f"revision {revision} has not happened yet; the store is at {self._revision}")
        if revision < self._compacted:
            raise CompactedError(Revision(self._compacted))
        items = dict(self._base)
        for batch in self._history[: revision - self._first + 1]:
            _fold(items, batch)
        return items

    def _end(self, lease: LeaseId) -> None:
        granted = self._leases.pop(lease, None)
        if granted is not None:
            self._commit([Delete(key) for key in sorted(granted.keys)])

    def _apply(self, operations: Sequence[Operation]) -> Revision:
        self._look()
        for operation in operations:
            if isinstance(operation, Put) and operation.lease != NO_LEASE and operation.lease not in self._leases:
                raise LeaseLostError(f"lease {operation.lease:x} is gone: grant it and register again")
        return self._commit(operations)

    def _commit(self, operations: Sequence[Operation]) -> Revision:
        revision = Revision(self._revision + 1)
        events: dict[str, Event] = {}
        for operation in operations:
            if isinstance(operation, Put):
                events[operation.key] = Event(operation.key, revision, self._written(operation, revision))
                continue
            for key in self._matching(operation):
                events[key] = Event(key, revision, None)
        if not events:
            return Revision(self._revision)
        batch = Batch(revision, tuple(sorted(events.values(), key=lambda event: event.key)))
        for event in batch.events:
            self._attach(self._items.get(event.key), event.item)
        _fold(self._items, batch)
        self._revision = revision
        self._history.append(batch)
        if len(self._history) > self._retain:
            self.compact(Revision(revision - self._retain // 2))
        self._wake()
        return revision

    def _written(self, put: Put, revision: Revision) -> Item:
        old = self._items.get(put.key)
        if old is None:
            return Item(put.key, put.value, revision, revision, 1, put.lease)
        return Item(put.key, put.value, old.create_revision, revision, old.version + 1, put.lease)

    def _matching(self, delete: Delete) -> Sequence[str]:
        if delete.prefix:
            return sorted(key for key in self._items if key.startswith(delete.key))
        return [delete.key] if delete.key in self._items else []

    def _attach(self, old: Item | None, new: Item | None) -> None:
        if old is not None and old.lease in self._leases:
            self._leases[old.lease].keys.discard(old.key)
        if new is not None and new.lease in self._leases:
            self._leases[new.lease].keys.add(new.key)


def _fold(items: dict[str, Item], batch: Batch) -> None:
    for event in batch.events:
        if event.item is None:
            items.pop(event.key, None)
        else:
            items[event.key] = event.item


def _holds(guard: Compare, item: Item | None) -> bool:
    if guard.value is not None:
        return item is not None and item.value == guard.value
    if guard.create_revision is not None:
        return (item.create_revision if item else 0) == guard.create_revision
    return (item.mod_revision if item else 0) == guard.mod_revision


def _without_value(item: Item) -> Item:
    return Item(item.key, b"", item.create_revision, item.mod_revision, item.version, item.lease)
