"""Where the registry is kept: what Weft needs of a store, and nothing of any particular one.

Two implementations pass one contract suite (`tests/contract`): `registry.memory` (a dict: unit tests, and a mesh without
etcd) and `registry.etcd`. Keys are relative to the store's root. One global revision orders every change; a transaction
is one revision.

How it fails: `StoreUnavailableError` (nobody answers: repeat, every write here is idempotent or guarded by a compare),
`CompactedError` (list again), `LeaseLostError` (grant and register again), `NoSpaceError` (say so, keep serving),
`PermissionDeniedError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import NewType, Protocol

Revision = NewType("Revision", int)
LeaseId = NewType("LeaseId", int)

NO_LEASE = LeaseId(0)


class StoreError(Exception):
    """An operation on the store failed."""

    code = "store_error"


class StoreUnavailableError(StoreError):
    """No endpoint answered in time. The outcome of a write is unknown."""

    code = "store_unavailable"


class CompactedError(StoreError):
    """The revision asked for is forgotten; list again at the present one. `compacted` is the oldest that is left."""

    code = "compacted"

    def __init__(self, compacted: Revision) -> None:
        super().__init__(f"revisions before {compacted} are compacted: list again and watch from there")
        self.compacted = compacted


class LeaseLostError(StoreError):
    """The lease is unknown to the store: it expired or was revoked."""

    code = "lease_lost"


class NoSpaceError(StoreError):
    """The store is full and refuses writes until its alarm is cleared."""

    code = "no_space"


class PermissionDeniedError(StoreError):
    """These credentials may not do this."""

    code = "permission_denied"


class InvalidTransaction(ValueError):
    """A transaction that no store takes: too large, or one that writes a key twice."""

    code = "invalid_transaction"


MAX_OPERATIONS = 100
MAX_TRANSACTION_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """A key and what it holds. Revisions are those of creation and of the last write; `version` counts writes from 1."""

    key: str
    value: bytes
    create_revision: Revision
    mod_revision: Revision
    version: int
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True)
class Listing:
    """Items in key order, as of one revision of the store."""

    revision: Revision
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key."""

    key: str
    value: bytes
    lease: LeaseId = NO_LEASE


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key, or with `prefix` all keys that start with it."""

    key: str
    prefix: bool = False


Operation = Put | Delete


@dataclass(frozen=True, slots=True)
class Compare:
    """A guard of a transaction. Exactly one of the three is given; a revision of 0 means "does not exist"."""

    key: str
    create_revision: Revision | None = None
    mod_revision: Revision | None = None
    value: bytes | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    """What became of a transaction. `revision` is the store's after it; `applied` says whether all guards held."""

    applied: bool
    revision: Revision


@dataclass(frozen=True, slots=True)
class Event:
    """One key changed. `item` is None when it was deleted; then `key` and `revision` say which and when."""

    key: str
    revision: Revision
    item: Item | None


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one revision changed below the prefixes watched; with no events it is progress: all up to here was told."""

    revision: Revision
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """A promise from the store to forget our keys unless we keep asking."""

    id: LeaseId
    ttl: timedelta


class KeyValue(Protocol):
    """Keys and values under one revision."""

    async def get(self, key: str) -> Item | None:
        """The present item, read linearizably, or None."""
        ...

    async def list(self, *prefixes: str, revision: Revision | None = None, keys_only: bool = False) -> Listing:
        """All items below any of the prefixes at one revision (the present one if not given). Raises `CompactedError`."""
        ...

    async def put(self, key: str, value: bytes, *, lease: LeaseId = NO_LEASE) -> Revision:
        """Write one key. Raises `LeaseLostError` if the lease is not there."""
        ...

    async def delete(self, key: str, *, prefix: bool = False) -> Revision:
        """Remove a key, or all below a prefix; the revision rises only if something was there."""
        ...

    async def transact(
        self, guards: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Transaction:
        """Apply `then` if every guard holds, else `otherwise`, all at one revision. At most 100 operations, 1 MB.

        Raises `InvalidTransaction` before anything is sent (`check_transaction`).
        """
        ...


class Leases(Protocol):
    """Promises with an end."""

    async def grant(self, ttl: timedelta, *, lease: LeaseId | None = None) -> Lease:
        """A new lease, under the id given or one of the store's; one that exists under that id is adopted and renewed."""
        ...

    async def keep_alive(self, lease: LeaseId) -> timedelta:
        """Ask for the lease's whole life again; what is left of it. Raises `LeaseLostError`."""
        ...

    async def revoke(self, lease: LeaseId) -> None:
        """End it now, and its keys with it. One that is already gone is no error."""
        ...


class Watches(Protocol):
    """Being told of changes."""

    def watch(self, *prefixes: str, start: Revision) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Every batch from revision `start` on, in order, each revision once and whole, across all prefixes.

        A quiet watch that is connected yields progress (a batch without events, of the present revision, which may be
        one told before) every few seconds. Reconnects and resumes by itself; the iterator raises `CompactedError` when it cannot. Leaving the scope ends it.
        """
        ...


class Store(KeyValue, Leases, Watches, Protocol):
    """All of it, and who it is."""

    async def describe(self) -> str:
        """The kind of store, its version and its members, for people: `etcd 3.6.16, 3/3 members`."""
        ...

    async def close(self) -> None:
        """Give back connections. What is under way fails with `StoreUnavailableError`."""
        ...


def check_transaction(
    guards: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
) -> None:
    """Raises `InvalidTransaction` where etcd would refuse, so that every store refuses alike.

    Each branch writes a key once and does not delete what it writes; each list has at most 100 entries, the whole at
    most 1 MB; a guard compares exactly one thing.
    """
    for guard in guards:
        if sum(part is not None for part in (guard.create_revision, guard.mod_revision, guard.value)) != 1:
            raise InvalidTransaction(f"the guard of {guard.key!r} must compare exactly one thing")
    for entries in (guards, then, otherwise):
        if len(entries) > MAX_OPERATIONS:
            raise InvalidTransaction(f"{len(entries)} entries in one list of a transaction; at most {MAX_OPERATIONS}")
    size = sum(len(operation.key) + len(getattr(operation, "value", b"")) for operation in (*then, *otherwise))
    if size > MAX_TRANSACTION_BYTES:
        raise InvalidTransaction(f"{size} bytes in one transaction; at most {MAX_TRANSACTION_BYTES}: split it")
    for branch in (then, otherwise):
        written: set[str] = set()
        for operation in branch:
            if isinstance(operation, Put):
                if operation.key in written:
                    raise InvalidTransaction(f"{operation.key!r} is written twice in one transaction")
                written.add(operation.key)
        for operation in branch:
            if isinstance(operation, Delete):
                hit = [
                    key
                    for key in written
                    if key == operation.key or (operation.prefix and key.startswith(operation.key))
                ]
                if hit:
                    raise InvalidTransaction(f"{min(hit)!r} is both written and deleted in one transaction")
