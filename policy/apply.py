"""Writing documents: `weft apply`, `get` and `delete`, for the CLI and the operator API alike.

Everything is validated here before anything is written, with the same code the compiler uses, so that a mistake is found
by whoever makes it. A set is written as a whole: in one transaction where it fits, else under a `pending/` key, during
which the compiler goes on with the last good versions.

How it fails: `InvalidDocuments` (nothing was written; every reason is in it), `ConflictError` (others kept changing the same
documents, or the set took longer than a minute: apply it again), and what the store raises.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Literal

from policy import records
from policy.diagnostics import Diagnostic, diagnostic
from policy.documents import Document, Unreadable, identify, parse, split
from policy.records import DocumentStatus, InvalidRecord
from registry import keys
from registry.keys import DocumentKey
from registry.names import InvalidName
from registry.store import Compare, Delete, Item, Operation, Put, Revision, Store, StoreError

logger = logging.getLogger(__name__)

SET_TTL = timedelta(seconds=60)
MAX_OPERATIONS = 99  # of the 100 of a transaction one is for the `pending/` key
MAX_BYTES = 900_000
ATTEMPTS = 5

Result = Literal["created", "changed", "unchanged", "deleted", "absent"]


class InvalidDocuments(ValueError):
    """Documents that were refused; nothing was written."""

    code = "invalid_documents"

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__("\n".join(map(str, diagnostics)))
        self.diagnostics = tuple(diagnostics)


class ConflictError(Exception):
    """Others changed the same documents meanwhile, or the set was not written in time."""

    code = "conflict"


@dataclass(frozen=True, slots=True)
class File:
    """What `-f` named: a name for messages, and the bytes."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid document of a file, and the key it belongs under."""

    key: DocumentKey
    document: bytes
    file: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of each document, in the order given, and the revision at which all of it is stored."""

    revision: Revision
    results: tuple[tuple[DocumentKey, Result], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A stored document, and what the controller says of it, if anything yet."""

    key: DocumentKey
    document: bytes
    created: Revision
    modified: Revision
    status: DocumentStatus | None


def prepare(files: Sequence[File], *, namespace: str | None = None) -> list[Prepared]:
    """The documents of `files`, checked; raises `InvalidDocuments` with every reason in all of them."""
    faults: list[Diagnostic] = []
    prepared: dict[DocumentKey, Prepared] = {}
    for file in files:
        try:
            pieces = split(file.content)
        except Unreadable as error:
            faults += [fault.located(file=file.name, lines_before=0) for fault in error.diagnostics]
            continue
        for piece in pieces:
            key = identify(piece.document, namespace=namespace)
            told: Document | tuple[Diagnostic, ...] = key if isinstance(key, tuple) else parse(key, piece.document)
            if not isinstance(told, Document):
                faults += [fault.located(file=file.name, lines_before=piece.lines_before) for fault in told]
            elif told.key in prepared:
                said = f"{told.key} stands also in {prepared[told.key].file}"
                faults.append(
                    told.diagnose("named_twice", said, "metadata").located(
                        file=file.name, lines_before=piece.lines_before
                    )
                )
            else:
                prepared[told.key] = Prepared(told.key, piece.document, file.name)
    if not faults and not prepared:
        names = ", ".join(file.name for file in files) or "what was given"
        faults.append(diagnostic("empty", f"there is no document in {names}"))
    if faults:
        raise InvalidDocuments(faults)
    return list(prepared.values())


async def apply(store: Store, files: Sequence[File], *, namespace: str | None = None) -> Applied:
    """Validate and write the documents of `files`, bytes as they stand there. Those already stored so are not written."""
    prepared = prepare(files, namespace=namespace)
    for _ in range(ATTEMPTS):
        present, statuses = await _present(store, [one.key for one in prepared])
        results = tuple((one.key, _result(one, present, statuses)) for one in prepared)
        wanted = [one for one, (_, result) in zip(prepared, results, strict=True) if result != "unchanged"]
        if not wanted:
            return Applied(Revision(max(present[one.key].mod_revision for one in prepared)), results)
        revision = await _write(store, wanted, prepared, present)
        if revision is not None:
            return Applied(revision, results)
    raise ConflictError("the same documents kept being changed by somebody else: look at them and apply again")


async def delete(store: Store, documents: Sequence[DocumentKey]) -> Applied:
    """Take documents back. One that is not there is `absent`; more than a hundred are deleted a hundred at a time."""
    present, _ = await _present(store, documents)
    there = [key for key in documents if key in present]
    revision = Revision(0)
    for start in range(0, len(there), MAX_OPERATIONS):
        chunk = [Delete(keys.document(keys.POLICY, key)) for key in there[start : start + MAX_OPERATIONS]]
        revision = (await store.transact((), chunk)).revision
    return Applied(revision, tuple((key, "deleted" if key in present else "absent") for key in documents))


async def get(
    store: Store, *, kind: str | None = None, namespace: str | None = None, name: str | None = None
) -> list[Found]:
    """The stored documents that match, with their status, in key order. `kind` is in lower case."""
    listing = await store.list(keys.POLICY, keys.STATUS_POLICY)
    found = []
    statuses = {item.key: item for item in listing.items if item.key.startswith(keys.STATUS_POLICY)}
    for item in listing.items:
        key = _document_key(item.key)
        if key is None or (kind or key.kind, namespace or key.namespace, name or key.name) != (
            key.kind,
            key.namespace,
            key.name,
        ):
            continue
        status = _status(statuses.get(keys.document(keys.STATUS_POLICY, key)))
        found.append(Found(key, item.value, item.create_revision, item.mod_revision, status))
    return found


def _document_key(key: str) -> DocumentKey | None:
    try:
        return keys.parse_document(keys.POLICY, key)
    except InvalidName:
        return None


def _status(item: Item | None) -> DocumentStatus | None:
    try:
        return None if item is None else records.decode(DocumentStatus, item.key, item.value)
    except InvalidRecord as error:
        logger.warning("a status cannot be read", extra={"error": str(error)})
        return None


async def _present(
    store: Store, documents: Sequence[DocumentKey]
) -> tuple[dict[DocumentKey, Item], dict[DocumentKey, DocumentStatus]]:
    """The stored items of these documents and what is said of them, at one revision."""
    exact = [keys.document(prefix, key) for key in documents for prefix in (keys.POLICY, keys.STATUS_POLICY)]
    prefixes = exact if len(exact) <= 32 else [keys.POLICY, keys.STATUS_POLICY]
    items = {item.key: item for item in (await store.list(*prefixes)).items}
    present = {key: items[name] for key in documents if (name := keys.document(keys.POLICY, key)) in items}
    statuses = {
        key: status for key in documents if (status := _status(items.get(keys.document(keys.STATUS_POLICY, key))))
    }
    return present, statuses


def _result(one: Prepared, present: dict[DocumentKey, Item], statuses: dict[DocumentKey, DocumentStatus]) -> Result:
    item = present.get(one.key)
    if item is None:
        return "created"
    status = statuses.get(one.key)
    stuck = status is not None and status.state == "incomplete" and status.revision == item.mod_revision
    return "changed" if item.value != one.document or stuck else "unchanged"


async def _write(
    store: Store, wanted: Sequence[Prepared], whole: Sequence[Prepared], present: dict[DocumentKey, Item]
) -> Revision | None:
    """The revision at which all of `wanted` is stored, or None where somebody else changed one of them meanwhile."""
    chunks = _chunks(wanted)
    if len(chunks) == 1:
        done = await store.transact(_guards(chunks[0], present), _puts(chunks[0]))
        return done.revision if done.applied else None
    return await _write_set(store, chunks, whole, present)


async def _write_set(
    store: Store, chunks: Sequence[Sequence[Prepared]], whole: Sequence[Prepared], present: dict[DocumentKey, Item]
) -> Revision:
    """Write more than fits one transaction, under a `pending/` key that goes with the last; raises `ConflictError`."""
    name = keys.pending(f"apply-{secrets.token_hex(8)}")
    digests = {keys.document(keys.POLICY, one.key): sha256(one.document).hexdigest() for one in whole}
    lease = await store.grant(SET_TTL)
    try:
        made = await store.put(name, records.encode(records.Pending(digests)), lease=lease.id)
        revision = made
        for index, chunk in enumerate(chunks):
            last = index == len(chunks) - 1
            operations: list[Operation] = [*_puts(chunk), *([Delete(name)] if last else [])]
            done = await store.transact([Compare(name, create_revision=made), *_guards(chunk, present)], operations)
            if not done.applied:
                raise ConflictError(
                    "the set is incomplete: somebody else changed one of its documents, or it took longer than 60 s; "
                    "what was in force stays; apply it again to complete it"
                )
            revision = done.revision
        return revision
    finally:
        await _revoke(store, lease.id)


async def _revoke(store: Store, lease: int) -> None:
    try:
        await store.revoke(lease)  # type: ignore[arg-type]
    except StoreError as error:
        logger.debug("a set's lease was left to expire", extra={"error": str(error)})


def _chunks(wanted: Sequence[Prepared]) -> list[list[Prepared]]:
    chunks: list[list[Prepared]] = [[]]
    size = 0
    for one in wanted:
        if len(chunks[-1]) == MAX_OPERATIONS or (chunks[-1] and size + len(one.document) > MAX_BYTES):
            chunks.append([])
            size = 0
        chunks[-1].append(one)
        size += len(one.document) + 256
    return chunks


def _puts(chunk: Sequence[Prepared]) -> list[Put]:
    return [Put(keys.document(keys.POLICY, one.key), one.document) for one in chunk]


def _guards(chunk: Sequence[Prepared], present: dict[DocumentKey, Item]) -> list[Compare]:
    return [
        Compare(
            keys.document(keys.POLICY, one.key),
            mod_revision=present[one.key].mod_revision if one.key in present else Revision(0),
        )
        for one in chunk
    ]
