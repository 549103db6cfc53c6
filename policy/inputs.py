"""What the compiler works from, folded from the store's keys: documents, unfinished sets, dry runs, services. Pure.

The compiler's loop feeds it listings and batches and asks for `stored()`. It also remembers which changes of documents
are still to be written to the log.

An unfinished set: while its `pending/` key is there, what was written since it was made is held. The set is complete when
the key goes together with one of its documents, or when every document is as the key said it would be; else it expired,
and what it wrote stays held until it is written again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Flag, auto
from hashlib import sha256
from typing import TypeVar

from policy.compile import ServiceFacts, Stored
from policy.facts import Facts
from policy.records import DocumentStatus, InvalidRecord, LastGood, Pending, decode
from registry import keys
from registry.keys import DocumentKey
from registry.names import InvalidName, ServiceName
from registry.store import Batch, Event, Item, Listing

logger = logging.getLogger(__name__)

K = TypeVar("K")


class Changed(Flag):
    """What a batch touched."""

    NOTHING = 0
    POLICY = auto()
    DRYRUN = auto()
    SERVICES = auto()
    BARRIER = auto()


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a document that the log does not hold yet. `gap`: others before it may have been missed."""

    key: DocumentKey
    revision: int
    document: bytes | None
    gap: bool = False


@dataclass(frozen=True, slots=True)
class _Set:
    """A set being written: since which revision, and what its documents will be."""

    since: int
    digests: Mapping[str, str]


class Inputs:
    """The fold. `revision` is that of everything it has been told."""

    PREFIXES = (keys.POLICY, keys.PENDING, keys.DRYRUN, keys.REGISTRY, keys.BARRIER)

    def __init__(self) -> None:
        self.revision = 0
        self.documents: dict[DocumentKey, Item] = {}
        self.misplaced: dict[str, Item] = {}
        self.dryruns: dict[DocumentKey, Item] = {}
        self.changes: list[Change] = []
        self._facts = Facts()
        self._items: dict[str, Item] = {}
        self._sets: dict[str, _Set] = {}
        self._expired: dict[DocumentKey, int] = {}

    def __repr__(self) -> str:
        return f"Inputs(revision={self.revision}, documents={len(self.documents)}, sets={len(self._sets)})"

    def relist(self, listing: Listing) -> Changed:
        """Take a listing of all of `PREFIXES`: the difference to what was known, deletions included."""
        present = {item.key: item for item in listing.items}
        events = [Event(key, listing.revision, None) for key in self._items if key not in present]
        events += [
            Event(item.key, item.mod_revision, item)
            for item in listing.items
            if (known := self._items.get(item.key)) is None or known.mod_revision != item.mod_revision
        ]
        # Documents before the sets that hold them: a set that ended is judged by what its documents are now.
        events.sort(key=lambda event: event.key.startswith(keys.PENDING))
        return self._take(listing.revision, events, first=self.revision == 0, gap=True)

    def apply(self, batch: Batch) -> Changed:
        """Take what one revision changed."""
        events = sorted(batch.events, key=lambda event: event.key.startswith(keys.PENDING))
        return self._take(batch.revision, events, first=False, gap=False)

    def stored(self, last_good: Mapping[DocumentKey, LastGood]) -> list[Stored]:
        """The documents for the compiler."""
        return [
            Stored(
                key=key,
                document=item.value,
                created=item.create_revision,
                modified=item.mod_revision,
                last_good=last_good.get(key),
                held=self._held(key, item) or self._is_expired(key, item),
                expired=self._is_expired(key, item) and not self._held(key, item),
            )
            for key, item in self.documents.items()
        ]

    def services(self) -> dict[ServiceName, ServiceFacts]:
        """The services that are registered."""
        return self._facts.services()

    def remember_expired(self, statuses: Mapping[DocumentKey, DocumentStatus]) -> None:
        """Take over from an earlier leader which documents belong to sets that expired."""
        for key, status in statuses.items():
            if status.state == "incomplete":
                self._expired.setdefault(key, status.revision)

    def _take(self, revision: int, events: Iterable[Event], *, first: bool, gap: bool) -> Changed:
        changed = Changed.NOTHING
        touched: set[str] = set()
        for event in events:
            if event.item is None:
                self._items.pop(event.key, None)
            else:
                self._items[event.key] = event.item
            touched.add(event.key)
            changed |= self._one(event, touched if not gap else set(), log=not first, gap=gap)
        self.revision = revision
        return changed

    def _one(self, event: Event, touched: set[str], *, log: bool, gap: bool) -> Changed:
        key, item = event.key, event.item
        if key.startswith(keys.REGISTRY):
            return Changed.SERVICES if self._facts.take(key, item.value if item else None) else Changed.NOTHING
        if key.startswith(keys.BARRIER):
            return Changed.BARRIER
        if key.startswith(keys.PENDING):
            self._set(key, item, touched)
            return Changed.POLICY
        prefix, into = (keys.POLICY, self.documents) if key.startswith(keys.POLICY) else (keys.DRYRUN, self.dryruns)
        try:
            document = keys.parse_document(prefix, key)
        except InvalidName:
            _keep(self.misplaced, key, item)
            return Changed.POLICY
        before = into.get(document)
        _keep(into, document, item)
        if prefix == keys.POLICY and log:
            skipped = gap and (item is None or before is None or item.version != before.version + 1)
            self.changes.append(Change(document, event.revision, item.value if item else None, gap=skipped))
        return Changed.POLICY if prefix == keys.POLICY else Changed.DRYRUN

    def _set(self, key: str, item: Item | None, touched: set[str]) -> None:
        if item is not None:
            try:
                digests = decode(Pending, key, item.value).keys
            except InvalidRecord as error:
                logger.warning("a pending set cannot be read", extra={"key": key, "error": str(error)})
                return
            self._sets[key] = _Set(item.create_revision, digests)
            return
        ended = self._sets.pop(key, None)
        if ended is None:
            return
        complete = not touched.isdisjoint(ended.digests) or all(
            digest_of(self._items.get(name)) == digest for name, digest in ended.digests.items()
        )
        for document, found in self.documents.items():
            if keys.document(keys.POLICY, document) not in ended.digests:
                continue
            if complete:
                self._expired.pop(document, None)
            elif found.mod_revision >= ended.since:
                self._expired[document] = found.mod_revision

    def _held(self, key: DocumentKey, item: Item) -> bool:
        name = keys.document(keys.POLICY, key)
        return any(name in one.digests and item.mod_revision >= one.since for one in self._sets.values())

    def _is_expired(self, key: DocumentKey, item: Item) -> bool:
        return self._expired.get(key) == item.mod_revision


def digest_of(item: Item | None) -> str:
    """What a pending set says of a document: SHA-256 in hex, or nothing where there is none."""
    return "" if item is None else sha256(item.value).hexdigest()


def _keep(into: dict[K, Item], key: K, item: Item | None) -> None:
    if item is None:
        into.pop(key, None)
    else:
        into[key] = item
