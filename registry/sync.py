"""Following a store: list at a revision, watch from the next, list again when that is no longer enough.

Whoever keeps a picture of the store (views, the compiler, a host's policy) consumes `follow`: first one `Relisted`, then
`Changed` for every revision, each once, whole and rising. `Relisted` comes again after a compaction, after more than 30 s
without contact, and every 15 min with jitter; its consumer takes the difference to what it had, deletions included.
While the store is away `Stale` says since when; what was known stays, because empty is not the same as lost.

What it costs: one watch stream, one listing per relist, and a read of one small key for every ten quiet seconds, which
is how a follower knows that "no news" is news.

How it fails: it does not end. Every failure of the store becomes `Stale` and a new attempt, with back-off up to 2 s.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from registry import keys
from registry.store import Batch, CompactedError, Listing, Revision, Store, StoreError, StoreUnavailableError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Relisted:
    """Everything below the prefixes, at one revision."""

    listing: Listing


@dataclass(frozen=True, slots=True)
class Changed:
    """What one later revision changed. Never empty."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Stale:
    """The store does not answer. `since` is when it last did, by the clock given to `follow`."""

    since: float


Update = Relisted | Changed | Stale


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a follower is, in seconds."""

    quiet: float = 10.0
    """Silence after which it is asked whether the store is there."""
    answer: float = 3.0
    """How long that question may take."""
    relist_after: float = 30.0
    """Silence after which a resumed watch is not trusted to have told all."""
    relist_every: float = 900.0
    """The steady relist; each time up to a tenth earlier or later."""
    backoff_first: float = 0.1
    backoff_most: float = 2.0


class _RelistDue(Exception):
    """What is known may be incomplete: list again."""


async def follow(
    store: Store,
    prefixes: Sequence[str],
    *,
    pace: Pace = Pace(),
    clock: Callable[[], float] = time.time,
    rng: random.Random | None = None,
) -> AsyncGenerator[Update, None]:
    """Updates of all keys below any of `prefixes`, for ever."""
    chance = rng or random.Random()
    contact = clock()
    backoff = pace.backoff_first
    seen = Revision(0)
    while True:
        try:
            listing = await store.list(*prefixes)
            contact = clock()
            if listing.revision < seen:
                logger.warning(
                    "the store's revision went backwards", extra={"revision": listing.revision, "revision.before": seen}
                )
            seen = listing.revision
            backoff = pace.backoff_first
            yield Relisted(listing)
            watching = _Watching(store, prefixes, pace, clock, contact)
            life = pace.relist_every * chance.uniform(0.9, 1.1)
            async with aclosing(watching.updates(listing.revision, life)) as updates:
                async for update in updates:
                    if isinstance(update, Changed):
                        seen = update.batch.revision
                    yield update
        except _RelistDue:
            continue
        except CompactedError as error:
            logger.info("the watch fell behind a compaction", extra={"revision": error.compacted})
        except StoreError as error:
            level = logging.DEBUG if isinstance(error, StoreUnavailableError) else logging.WARNING
            logger.log(level, "the store cannot be followed", extra={"error.code": error.code, "error": str(error)})
            yield Stale(contact)
        await asyncio.sleep(backoff * chance.uniform(0.5, 1.0))
        backoff = min(2 * backoff, pace.backoff_most)


class _Watching:
    """One watch, and the questions in between."""

    def __init__(
        self, store: Store, prefixes: Sequence[str], pace: Pace, clock: Callable[[], float], contact: float
    ) -> None:
        self._store = store
        self._prefixes = prefixes
        self._pace = pace
        self._clock = clock
        self._contact = contact
        self._stale = False

    async def updates(self, listed: Revision, life: float) -> AsyncGenerator[Update, None]:
        """Until `life` seconds have passed or silence was too long (`_RelistDue`), or the watch fails."""
        end = self._clock() + life
        applied = listed
        async with self._store.watch(*self._prefixes, start=Revision(listed + 1)) as batches:
            pending = asyncio.ensure_future(anext(batches))
            try:
                while True:
                    done, _ = await asyncio.wait({pending}, timeout=self._pace.quiet)
                    if not done:
                        if await self._ask():
                            yield Stale(self._contact)
                        if self._clock() >= end and not self._stale:
                            raise _RelistDue
                        continue
                    batch = pending.result()
                    pending = asyncio.ensure_future(anext(batches))
                    self._heard()
                    if batch.events and batch.revision > applied:
                        applied = batch.revision
                        yield Changed(batch)
                    if self._clock() >= end:
                        raise _RelistDue
            finally:
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)

    async def _ask(self) -> bool:
        """Whether the store is away; a small linearizable read decides."""
        try:
            async with asyncio.timeout(self._pace.answer):
                await self._store.get(keys.META_LAYOUT)
        except (StoreError, TimeoutError):
            self._stale = True
            return True
        self._heard()
        return False

    def _heard(self) -> None:
        silence = self._clock() - self._contact
        self._contact = self._clock()
        if self._stale and silence > self._pace.relist_after:
            raise _RelistDue
        self._stale = False
