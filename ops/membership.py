"""The mesh as this controller last saw it, followed in the store and kept on disk.

A store that holds another mesh, or none where we know one, is not believed: the last good state stays and `objection`
says why (DESIGN.md section 4). While the store is away everything stays as it was.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from pathlib import Path

from registry import keys, layout
from registry.layout import InvalidLayout
from registry.pki import members
from registry.pki.files import write_private
from registry.pki.members import PREFIXES, Members
from registry.store import Store
from registry.sync import Changed, Relisted, Stale, follow

logger = logging.getLogger(__name__)

LOOK_AGAIN = 0.5  # seconds until a store that is not ours is looked at again


class Membership:
    """`current`, and since when it may be out of date."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = asyncio.Event()
        self.current = members.decode(path.read_bytes()) if path.exists() else Members()
        self.stale_since: float | None = None
        self.objection = ""
        self.fresh = asyncio.Event()
        """Set once the store was seen to hold this mesh."""

    def __repr__(self) -> str:
        return f"Membership(revision={self.current.revision}, objection={self.objection!r})"

    async def mesh(self) -> layout.Layout:
        """Which mesh this is, as soon as that is known."""
        while (found := self.current.layout) is None:
            await self._changed.wait()
        return found

    async def changes(self) -> None:
        """Until the next change."""
        changed = self._changed
        await changed.wait()

    async def run(self, store: Store) -> None:
        """Follow the store, for ever."""
        while True:
            await self._follow(store)
            await asyncio.sleep(LOOK_AGAIN)

    async def _follow(self, store: Store) -> None:
        """Until the store must be listed anew, because it may have become, or stopped being, ours."""
        async with aclosing(follow(store, PREFIXES)) as updates:
            async for update in updates:
                match update:
                    case Relisted(listing):
                        found = self.current.relist(listing)
                        self._object(self._judge(found))
                        if self.objection:
                            return
                        self.stale_since = None
                        self._take(found)
                    case Changed(batch):
                        if any(event.key == keys.META_LAYOUT for event in batch.events):
                            return
                        was_stale, self.stale_since = self.stale_since is not None, None
                        if batch.events or was_stale:
                            self._take(self.current.apply(batch))
                    case Stale(since):
                        self.stale_since = since
                        self._wake()

    def _judge(self, found: Members) -> str:
        """Why the store must not be believed, or nothing."""
        try:
            seen, known = found.layout, self.current.layout
        except InvalidLayout as error:
            return str(error)
        if seen is None:
            return "the store holds no mesh (no meta/layout)"
        if known is not None and known.mesh_id != seen.mesh_id:
            return (
                f"the store holds mesh {seen.mesh_id}, this controller serves {known.mesh_id}: weft adopt changes that"
            )
        return ""

    def _object(self, why: str) -> None:
        if why and why != self.objection:
            logger.error("the store is not believed", extra={"error": why})
        self.objection = why
        self._wake()

    def _take(self, found: Members) -> None:
        self.current = found
        try:
            write_private(self._path, members.encode(found))
        except OSError as error:
            logger.error(
                "what is known of the mesh cannot be kept", extra={"file": str(self._path), "error": str(error)}
            )
        self.fresh.set()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
