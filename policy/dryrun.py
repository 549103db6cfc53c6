"""Documents compiled against the live set and published nowhere: the keys below `dryrun/`. Pure.

All that are there are tried together, in place of the live documents of the same key, so that a set can be tried as a
set. They are swept after an hour, which this leader counts from when it first saw them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from policy.compile import Stored
from policy.outputs import Outputs, status_value
from policy.records import DocumentStatus
from registry import keys
from registry.keys import DocumentKey
from registry.store import Delete, Item, Operation, Put

LIFE = 3_600.0


class DryRuns:
    """When each dry run was first seen, by the loop's clock."""

    def __init__(self) -> None:
        self._since: dict[DocumentKey, tuple[int, float]] = {}

    def expired(self, dryruns: Mapping[DocumentKey, Item], *, now: float) -> list[Operation]:
        """The deletions of those that are an hour old."""
        self._since = {
            key: known
            if (known := self._since.get(key)) and known[0] == item.mod_revision
            else (item.mod_revision, now)
            for key, item in dryruns.items()
        }
        return [
            Delete(keys.document(keys.DRYRUN, key)) for key, (_, since) in self._since.items() if now - since > LIFE
        ]


def overlaid(stored: Sequence[Stored], dryruns: Mapping[DocumentKey, Item]) -> list[Stored]:
    """The live documents with the dry runs in their places: a replacement keeps the age of what it replaces."""
    created = {one.key: one.created for one in stored}
    tried = [
        Stored(key, item.value, created.get(key, item.create_revision), item.mod_revision)
        for key, item in dryruns.items()
    ]
    return [*(one for one in stored if one.key not in dryruns), *tried]


def dryrun_changes(
    outputs: Outputs, statuses: Mapping[DocumentKey, DocumentStatus], dryruns: Mapping[DocumentKey, Item]
) -> Iterable[Operation]:
    """The changes below `status/dryrun/`."""
    wanted = {keys.document(keys.STATUS_DRYRUN, key): status_value(statuses[key]) for key in dryruns}
    for key, value in wanted.items():
        if outputs.records.get(key) != value:
            yield Put(key, value)
    for key in sorted(outputs.records):
        if key.startswith(keys.STATUS_DRYRUN) and key not in wanted:
            yield Delete(key)
