"""A host's lease as a scope: while it is open, what was put under it is there.

The host's own list is the truth of its own keys. The lease is kept alive every third of its life; when the store has
forgotten it, it is granted again under the same id and everything is written anew, with jitter, because a store that
comes back forgets everybody's lease at once. Registrations are written before `hosts/<host>`, which says "these are all
of mine", and acks last.

Leaving the scope stops the asking and leaves the lease as it is: a restarted agent adopts it (its id follows from root,
host, boot and state directory) and nothing was unlisted meanwhile. `end` gives it up.

What it costs: one keep-alive per third of the lease's life, and one transaction per hundred keys after a loss.

How it fails: `put` raises what the store raises, once; the key is kept and is written by the next restoration all the
same, and whoever wants it sooner puts it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from datetime import timedelta
from types import TracebackType
from typing import Self

from registry import keys
from registry.store import MAX_OPERATIONS, LeaseId, LeaseLostError, Put, Revision, Store, StoreError

logger = logging.getLogger(__name__)

RESTORE_WITHIN = 2.0
RETRY = 1.0


def lease_id(root: str, host: str, boot_id: str, owner: str) -> LeaseId:
    """63 bits that follow from who asks: a restart finds its lease again, a cloned machine does not (other `owner`)."""
    digest = hashlib.sha256("\0".join((root, host, boot_id, owner)).encode()).digest()
    return LeaseId(int.from_bytes(digest[:8], "big") >> 1 or 1)


class Session:
    """Keys that live as long as this host does."""

    def __init__(self, store: Store, *, lease: LeaseId, ttl: timedelta, rng: random.Random | None = None) -> None:
        self._store = store
        self._lease = lease
        self._ttl = ttl
        self._rng = rng or random.Random()
        self._own: dict[str, bytes] = {}
        self._granted = False
        self._granting = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self.restored = 0
        """How often everything had to be written anew."""

    def __repr__(self) -> str:
        return f"Session(lease={self._lease:x}, granted={self._granted}, keys={sorted(self._own)})"

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)

    async def put(self, key: str, value: bytes) -> Revision:
        """Write a key under the lease and keep it there; the revision of the write. Raises `StoreError`."""
        self._own[key] = value
        await self._grant()
        try:
            return await self._store.put(key, value, lease=self._lease)
        except LeaseLostError:
            await self._restore()
            return await self._store.put(key, value, lease=self._lease)

    async def forget(self, key: str) -> None:
        """Keep it no longer; whoever asks for this writes what takes its place."""
        self._own.pop(key, None)

    async def remove(self, key: str) -> Revision:
        """Keep it no longer and delete it. Raises `StoreError`."""
        self._own.pop(key, None)
        return await self._store.delete(key)

    async def end(self) -> None:
        """Give the lease up, and all keys with it. Raises `StoreError`."""
        self._own.clear()
        self._granted = False
        await self._store.revoke(self._lease)

    async def _keep(self) -> None:
        third = self._ttl.total_seconds() / 3
        while True:
            try:
                if self._granted:
                    await self._store.keep_alive(self._lease)
                await asyncio.sleep(third * self._rng.uniform(0.9, 1.0))
            except LeaseLostError:
                logger.warning("the host's lease was lost and is taken again", extra={"keys": len(self._own)})
                await asyncio.sleep(self._rng.uniform(0.0, min(RESTORE_WITHIN, third)))
                try:
                    await self._restore()
                except StoreError as error:
                    logger.debug("the host's keys are restored later", extra={"error": str(error)})
                    await asyncio.sleep(min(RETRY, third))
            except StoreError as error:
                logger.debug("the host's lease could not be kept alive", extra={"error": str(error)})
                await asyncio.sleep(min(RETRY, third) * self._rng.uniform(0.5, 1.0))

    async def _grant(self) -> None:
        async with self._granting:
            if not self._granted:
                await self._store.grant(self._ttl, lease=self._lease)
                self._granted = True

    async def _restore(self) -> None:
        async with self._granting:
            await self._store.grant(self._ttl, lease=self._lease)
            self._granted = True
        puts = [Put(key, value, self._lease) for key, value in sorted(self._own.items(), key=_order)]
        for first in range(0, len(puts), MAX_OPERATIONS):
            await self._store.transact([], puts[first : first + MAX_OPERATIONS])
        self.restored += 1


def _order(entry: tuple[str, bytes]) -> tuple[int, str]:
    key, _ = entry
    return (2 if key.startswith(keys.ACK) else 1 if key.startswith(keys.HOSTS) else 0), key
