"""Who leads: a lease, a key, and the oldest key wins.

A candidate puts `elect/<role>/<lease>` under a lease of its own and waits until no older candidate is left; each waits
for its predecessor only, so a leader's end wakes one candidate, not all. A leader fences everything it writes with the
creation revision of its key: whoever was deposed without noticing writes nothing. A restarted candidate makes a new key.

How it fails: `campaign` raises `StoreUnavailableError` where the store is away at the start; once leading, losing the
lease or not reaching the store for as long as the lease lives sets `Leadership.lost`, and the scope's owner stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from registry import keys
from registry.store import CompactedError, LeaseId, LeaseLostError, Put, Revision, Store, StoreError

logger = logging.getLogger(__name__)

RETRY_FIRST = 0.1
RETRY_MOST = 1.0


@dataclass(frozen=True, slots=True)
class Leadership:
    """A won election. Compare `key`'s creation revision in every transaction; stop when `lost` is set."""

    key: str
    create_revision: Revision
    lost: asyncio.Event = field(default_factory=asyncio.Event, compare=False)


@asynccontextmanager
async def campaign(store: Store, role: str, candidate: str, *, ttl: timedelta) -> AsyncIterator[Leadership]:
    """Wait to lead, then lead until the scope ends or `lost` is set. `candidate` is for people: it is the key's value."""
    lease = (await store.grant(ttl)).id
    alive = _KeptAlive(store, lease, ttl)
    keeping = asyncio.create_task(alive.run())
    try:
        key = f"{keys.elect(role)}{lease:016x}"
        await store.transact([], [Put(key, candidate.encode(), lease=lease)])
        item = await store.get(key)
        if item is None:
            raise LeaseLostError(f"the lease of {candidate!r} ended before it could stand for {role!r}")
        turn = asyncio.create_task(_turn(store, role, key, item.create_revision))
        gone = asyncio.create_task(alive.lost.wait())
        try:
            await asyncio.wait({turn, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not turn.done():
                raise LeaseLostError(f"the lease of {candidate!r} was lost while it waited to lead {role!r}")
            turn.result()
        finally:
            for task in (turn, gone):
                task.cancel()
            await asyncio.gather(turn, gone, return_exceptions=True)
        yield Leadership(key, item.create_revision, alive.lost)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(1.0):
                await store.revoke(lease)


async def _turn(store: Store, role: str, key: str, created: Revision) -> None:
    """Return when no older candidate is left."""
    while True:
        listing = await store.list(keys.elect(role))
        older = [item for item in listing.items if item.create_revision < created]
        if not any(item.key == key for item in listing.items):
            raise LeaseLostError(f"{key} is gone: its lease was lost")
        if not older:
            return
        predecessor = max(older, key=lambda item: item.create_revision)
        try:
            async with store.watch(predecessor.key, start=Revision(listing.revision + 1)) as batches:
                async for batch in batches:
                    if any(event.key == predecessor.key and event.item is None for event in batch.events):
                        break
        except CompactedError:
            continue


class _KeptAlive:
    """A lease asked for every third of its life; `lost` is set when it is gone, or may be."""

    def __init__(self, store: Store, lease: LeaseId, ttl: timedelta) -> None:
        self._store = store
        self._lease = lease
        self._ttl = ttl.total_seconds()
        self.lost = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._ttl
        pause = self._ttl / 3
        while True:
            await asyncio.sleep(pause)
            asked = loop.time()
            try:
                # Counted from before the question: the store's own count may have begun no earlier.
                async with asyncio.timeout(max(0.05, ends - asked)):
                    await self._store.keep_alive(self._lease)
            except LeaseLostError:
                self.lost.set()
                return
            except (StoreError, TimeoutError) as error:
                if loop.time() >= ends:
                    logger.warning("leadership given up: the store was away for the lease's whole life")
                    self.lost.set()
                    return
                logger.debug("the lease could not be kept alive", extra={"error": str(error)})
                pause = min(RETRY_MOST, self._ttl / 10)
                continue
            ends = asked + self._ttl
            pause = self._ttl / 3
