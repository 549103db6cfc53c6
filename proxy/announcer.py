"""What this host writes to the store: its instances, itself, its acks, and the tombstones of what is gone.

`tell` and `bury` say what should be there; `run` makes it so under the host's lease, again and again until the store has it,
and again whenever the store forgets. `hosts/<host>` is written after the registrations, because it says "these are all of
mine". A tombstone has a lease of its own, ten minutes, so that the host's end does not take it away.

How it fails: it does not end. While the store is away, or is not this host's mesh, everything waits here.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import timedelta

from proxy.mesh import Mesh
from proxy.registrations import Key
from registry import keys
from registry.model import Host, Tombstone
from registry.records import DEREGISTERED, encode_host, encode_instance
from registry.session import Session
from registry.store import LeaseId, Store, StoreError, StoreUnavailableError

logger = logging.getLogger(__name__)

TOMBSTONE_TTL = timedelta(minutes=10)
AGAIN_FIRST = 0.1
AGAIN_MOST = 2.0
RESTORE_WITHIN = 0.2


class Announcer:
    """This host's keys, wanted and written. `changed` is called when the store has taken something."""

    def __init__(
        self, *, clock: Callable[[], float], changed: Callable[[], None], buried: Callable[[Key], None]
    ) -> None:
        self._clock = clock
        self._changed = changed
        self._buried = buried
        self._wanted: dict[str, bytes] = {}
        self._graves: dict[str, Key] = {}
        self._written: dict[str, tuple[bytes, int]] = {}
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()

    def __repr__(self) -> str:
        waiting = [key for key in self._wanted if self.revision(key) is None]
        return f"Announcer({len(self._wanted)} keys, waiting={[*waiting, *self._graves]})"

    def tell(self, key: str, value: bytes, *, again: bool = False) -> None:
        """Keep this key as it is here; `again` writes it even where the store has it already."""
        if again or self._wanted.get(key) != value:
            self._written.pop(key, None)
        self._wanted[key] = value
        self._graves.pop(key, None)
        self._wake.set()

    def bury(self, key: Key) -> None:
        """Replace the instance's key by its tombstone."""
        name = keys.instance(*key)
        self._wanted.pop(name, None)
        self._written.pop(name, None)
        self._graves[name] = key
        self._wake.set()

    def look(self) -> None:
        """What the store holds changed: see whether ours is still there."""
        self._wake.set()

    def revision(self, key: str) -> int | None:
        """The revision at which the store took what is wanted of this key, or its tombstone; None while it has not."""
        value, revision = self._written.get(key, (b"", 0))
        return revision if revision and value == self._wanted.get(key, b"") else None

    async def stored(self, key: str) -> int:
        """The same, waited for."""
        while (revision := self.revision(key)) is None:
            await self._moved.wait()
        return revision

    async def run(self, store: Store, mesh: Mesh, record: Host, *, lease: LeaseId, ttl: timedelta) -> None:
        """Write what is wanted, for ever, once the store was seen to be this host's mesh."""
        self.tell(keys.host(record.name), encode_host(record))
        await mesh.listed.wait()
        async with Session(store, lease=lease, ttl=ttl) as session:
            pause = AGAIN_FIRST
            while True:
                self._wake.clear()
                try:
                    if mesh.writable and await self._round(store, session, mesh):
                        pause = AGAIN_FIRST
                        self._tell_moved()
                    await self._wake.wait()
                except StoreError as error:
                    logger.warning("the store does not take this host's keys", extra={"error": str(error)})
                    self._tell_moved()
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                    pause = min(2 * pause, AGAIN_MOST)

    def _tell_moved(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
        self._changed()

    async def _round(self, store: Store, session: Session, mesh: Mesh) -> bool:
        """Write everything that the store has not; whether there was anything. Raises `StoreError`."""
        if self._lose_what_others_changed(mesh):
            await asyncio.sleep(random.uniform(0.0, RESTORE_WITHIN))
        waiting = {key: value for key, value in self._wanted.items() if self.revision(key) is None}
        graves = dict(self._graves)
        refused: StoreError | None = None
        for key, value in sorted(waiting.items(), key=_acks_last):
            if self._wanted.get(key) != value:
                continue
            try:
                self._written[key] = (value, int(await session.put(key, value)))
            except StoreUnavailableError:
                raise
            except StoreError as error:
                refused = error  # one key that is never taken holds back no other
        for name, buried in graves.items():
            await session.forget(name)
            grave = await store.grant(TOMBSTONE_TTL)
            revision = await store.put(name, encode_instance(Tombstone(DEREGISTERED, self._clock())), lease=grave.id)
            if self._graves.get(name) == buried:
                del self._graves[name]
                self._written[name] = (b"", int(revision))
                self._buried(buried)
        if refused is not None:
            raise refused
        return bool(waiting or graves)

    def _lose_what_others_changed(self, mesh: Mesh) -> bool:
        """Take back what the store no longer holds as it was written; whether there was anything."""
        lost = [
            key
            for key, (value, revision) in self._written.items()
            if value and mesh.holds_otherwise(key, value, revision=revision)
        ]
        for key in lost:
            logger.warning("a key of this host was changed by somebody else and is restored", extra={"key": key})
            del self._written[key]
        return bool(lost)


def _acks_last(entry: tuple[str, bytes]) -> tuple[bool, bool, str]:
    """Instances, then the host, then the ack."""
    key, _ = entry
    return key.startswith(keys.ACK), key.startswith(keys.HOSTS), key
