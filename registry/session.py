"""A host's lease as a scope: while it is open, what was put under it is there.

The host's own list is the truth of its own keys. The lease is kept alive every third of its life; when the store has
forgotten it, it is granted again under the same id and everything is written anew, with jitter, because a store that
comes back forgets everybody's lease at once. Registrations are written before `hosts/<host>`, which says "these are all
of mine", and acks last. At every third it is also asked whether each key still has the revision it was written at; one
that somebody edited or deleted, or whose write had an unknown outcome, is put back.

Leaving the scope stops the asking and leaves the lease as it is: a restarted agent adopts it (its id follows from root,
host, boot and state directory) and nothing was unlisted meanwhile. `end` gives it up.

What it costs: per third of the lease's life one keep-alive and, for every hundred keys, one transaction that writes
nothing; after a loss one transaction per hundred keys.

How it fails: `put` raises what the store raises, once; the key is kept and is written at the next third all the same,
and whoever wants it sooner puts it again.
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
from registry.store import MAX_OPERATIONS, Compare, LeaseId, LeaseLostError, Put, Revision, Store, StoreError

logger = logging.getLogger(__name__)

RESTORE_WITHIN = 2.0
RETRY = 1.0
_UNKNOWN = Revision(-1)
"""A revision that nothing has: the guard of a key whose last write has no known outcome never holds."""


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
        self._written: dict[str, Revision] = {}
        self._granted = False
        self._turn = asyncio.Lock()  # writes of own keys happen one after another, or an older value could win
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
        self._written.pop(key, None)
        async with self._turn:
            await self._grant()
            try:
                revision = await self._store.put(key, value, lease=self._lease)
            except LeaseLostError:
                await self._restore()
                revision = await self._store.put(key, value, lease=self._lease)
            self._written[key] = revision
        return revision

    async def forget(self, key: str) -> None:
        """Keep it no longer; whoever asks for this writes what takes its place, once this has returned."""
        self._own.pop(key, None)
        async with self._turn:
            self._written.pop(key, None)

    async def remove(self, key: str) -> Revision:
        """Keep it no longer and delete it. Raises `StoreError`."""
        await self.forget(key)
        return await self._store.delete(key)

    async def end(self) -> None:
        """Give the lease up, and all keys with it. Raises `StoreError`."""
        self._own.clear()
        async with self._turn:
            self._written.clear()
            self._granted = False
            await self._store.revoke(self._lease)

    async def _keep(self) -> None:
        third = self._ttl.total_seconds() / 3
        while True:
            try:
                if self._granted:
                    await self._store.keep_alive(self._lease)
                    async with self._turn:
                        await self._put_back()
                await asyncio.sleep(third * self._rng.uniform(0.9, 1.0))
            except LeaseLostError:
                logger.warning("the host's lease was lost and is taken again", extra={"keys": len(self._own)})
                await asyncio.sleep(self._rng.uniform(0.0, min(RESTORE_WITHIN, third)))
                try:
                    async with self._turn:
                        await self._restore()
                except StoreError as error:
                    logger.debug("the host's keys are restored later", extra={"error": str(error)})
                    await asyncio.sleep(min(RETRY, third))
            except StoreError as error:
                logger.debug("the host's lease could not be kept alive", extra={"error": str(error)})
                await asyncio.sleep(min(RETRY, third) * self._rng.uniform(0.5, 1.0))

    async def _grant(self) -> None:
        if not self._granted:
            await self._store.grant(self._ttl, lease=self._lease)
            self._granted = True

    async def _restore(self) -> None:
        """Take the lease again and write everything. The turn is ours."""
        self._granted = False
        await self._grant()
        puts = [Put(key, value, self._lease) for key, value in sorted(self._own.items(), key=_order)]
        for first in range(0, len(puts), MAX_OPERATIONS):
            chunk = puts[first : first + MAX_OPERATIONS]
            done = await self._store.transact([], chunk)
            self._written.update((put.key, done.revision) for put in chunk if self._own.get(put.key) == put.value)
        self.restored += 1

    async def _put_back(self) -> None:
        """Write again what is not as this host wrote it. The turn is ours."""
        own = sorted(self._own, key=lambda key: _order((key, b"")))
        for first in range(0, len(own), MAX_OPERATIONS):
            chunk = own[first : first + MAX_OPERATIONS]
            untouched = [Compare(key, mod_revision=self._written.get(key, _UNKNOWN)) for key in chunk]
            if not (await self._store.transact(untouched, [])).applied:
                for key in chunk:
                    await self._put_back_one(key)

    async def _put_back_one(self, key: str) -> None:
        item = await self._store.get(key)
        value = self._own.get(key)
        if value is None:
            return
        if item is not None and item.value == value and item.lease == self._lease:
            self._written[key] = item.mod_revision
            return
        if key in self._written:
            logger.warning("somebody changed a key of this host; it is put back", extra={"key": key})
        found = item.mod_revision if item is not None else Revision(0)
        done = await self._store.transact([Compare(key, mod_revision=found)], [Put(key, value, self._lease)])
        if done.applied:
            self._written[key] = done.revision


def _order(entry: tuple[str, bytes]) -> tuple[int, str]:
    key, _ = entry
    return (2 if key.startswith(keys.ACK) else 1 if key.startswith(keys.HOSTS) else 0), key
