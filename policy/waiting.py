"""Waiting until a change is live everywhere: `weft wait`, and all that is built on it.

How it fails: not for a slow mesh. When time is up it returns the last `Rollout` it saw, which names who is missing. While
the store is away it goes on waiting.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

from policy.rollout import Fleet, Outcome, Rollout
from registry import keys
from registry.store import Lease, Store, StoreError
from registry.sync import Changed, Relisted, follow

logger = logging.getLogger(__name__)

PATIENCE = 1.0


async def wait(store: Store, revision: int, *, timeout: timedelta, live: bool = False) -> Rollout:
    """Until every host of the roster answered for policy up to `revision`; `live` leaves out hosts without a lease.

    Where no document changed at `revision`, a barrier makes the compiler say how far it has looked.
    """
    fleet = Fleet()
    try:
        async with (
            asyncio.timeout(timeout.total_seconds()),
            _barrier(store, fleet, revision, life=timeout),
            aclosing(follow(store, Fleet.PREFIXES)) as updates,
        ):
            async for update in updates:
                if isinstance(update, Relisted):
                    fleet.reset(update.listing.items)
                elif isinstance(update, Changed):
                    for event in update.batch.events:
                        fleet.take(event.key, event.item.value if event.item else None)
                found = fleet.rollout(revision, live=live)
                if found.outcome is not Outcome.WAITING:
                    return found
    except TimeoutError:
        pass
    return fleet.rollout(revision, live=live)


@asynccontextmanager
async def _barrier(store: Store, fleet: Fleet, revision: int, *, life: timedelta) -> AsyncIterator[None]:
    """A scope in which, if the compiler has not said within a second that it looked so far, everybody is asked to say."""
    lease: Lease | None = None

    async def put_up() -> None:
        nonlocal lease
        await asyncio.sleep(PATIENCE)
        while not fleet.rollout(revision).covered:
            try:
                lease = lease or await store.grant(max(life, timedelta(seconds=5)))
                await store.put(keys.barrier(f"wait-{secrets.token_hex(8)}"), b"{}", lease=lease.id)
                return
            except StoreError as error:
                logger.debug("a barrier cannot be put up yet", extra={"error": str(error)})
                await asyncio.sleep(PATIENCE)

    task = asyncio.create_task(put_up())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if lease is not None:
            await _take_down(store, lease)


async def _take_down(store: Store, lease: Lease) -> None:
    """What the store does not hear now, the lease's end does."""
    try:
        async with asyncio.timeout(2):
            await store.revoke(lease.id)
    except (StoreError, TimeoutError) as error:
        logger.debug("a barrier was left to expire", extra={"error": str(error)})
