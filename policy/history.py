"""The log of changes: one entry for every change of a document, written by the leader, kept by count and by age."""

from __future__ import annotations

from dataclasses import dataclass

from policy import records
from policy.records import InvalidRecord, LogEntry
from registry import keys
from registry.election import Leadership
from registry.keys import DocumentKey
from registry.store import MAX_OPERATIONS, Compare, Delete, KeyValue

KEEP_ENTRIES = 10_000
KEEP_SECONDS = 90 * 86_400.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A change: which document, at which revision, and what it said from then on."""

    key: DocumentKey
    revision: int
    change: LogEntry


def parse_log_key(key: str) -> tuple[int, DocumentKey]:
    """Revision and document of a key below `log/`; raises `registry.names.InvalidName` or ValueError."""
    revision, _, path = key.removeprefix(keys.LOG).partition("/")
    return int(revision), keys.parse_document("", path)


async def history(store: KeyValue, key: DocumentKey | None = None) -> list[Entry]:
    """The log in order of revision, of one document or of all."""
    entries = []
    for item in (await store.list(keys.LOG)).items:
        try:
            revision, document = parse_log_key(item.key)
            if key in (None, document):
                entries.append(Entry(document, revision, records.decode(LogEntry, item.key, item.value)))
        except (ValueError, InvalidRecord):
            continue
    return entries


async def trim_log(store: KeyValue, leadership: Leadership, *, now: float, keep: int = KEEP_ENTRIES) -> int:
    """Delete what is beyond the count, and the oldest entries that are too old; how many were deleted, a hundred at most."""
    names = [item.key for item in (await store.list(keys.LOG, keys_only=True)).items]
    doomed = names[: max(0, len(names) - keep)][:MAX_OPERATIONS]
    for name in names[len(doomed) : MAX_OPERATIONS]:
        item = await store.get(name)
        if item is None or now - _written(name, item.value) <= KEEP_SECONDS:
            break
        doomed.append(name)
    if doomed:
        guard = Compare(leadership.key, create_revision=leadership.create_revision)
        await store.transact([guard], [Delete(name) for name in doomed])
    return len(doomed)


def _written(key: str, value: bytes) -> float:
    """When an entry was made; one that cannot be read is older than any."""
    try:
        return records.decode(LogEntry, key, value).at
    except InvalidRecord:
        return 0.0
