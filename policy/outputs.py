"""What the compiler keeps in the store, and the difference between that and what should be there. Pure.

Only keys whose payload changed are written. After a write whose outcome is unknown, `Outputs` is loaded again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from policy import compiled, records
from policy.compile import Compilation, ServiceFacts
from policy.diagnostics import diagnostic
from policy.inputs import Change
from policy.records import ControllerStatus, DocumentStatus, InvalidRecord, LastGood, LogEntry
from registry import keys
from registry.keys import DocumentKey
from registry.model import Protocol
from registry.names import InvalidName, ServiceName
from registry.store import Delete, Item, Listing, Operation, Put, Revision

logger = logging.getLogger(__name__)

NEVER = Revision(0)
MAX_VALUE = 900_000
MAX_PROBLEMS = 100


@dataclass(slots=True)
class Outputs:
    """The leader's own keys. `payloads` by key, without the envelope; `head_written`: the head's modification revision."""

    PREFIXES = (
        keys.COMPILED,
        keys.LASTGOOD,
        keys.STATUS_POLICY,
        keys.STATUS_DRYRUN,
        keys.STATUS_CONTROLLER,
    )

    payloads: dict[str, bytes] = field(default_factory=dict)
    protocols: dict[ServiceName, Protocol] = field(default_factory=dict)
    last_good: dict[DocumentKey, LastGood] = field(default_factory=dict)
    records: dict[str, bytes] = field(default_factory=dict)
    head: compiled.Head | None = None
    head_written: Revision = NEVER

    @classmethod
    def of(cls, listing: Listing) -> Outputs:
        """From a listing of `PREFIXES`. What cannot be read counts as not there, and is written again."""
        found = cls()
        for item in listing.items:
            found._load(item)
        return found

    def statuses(self) -> dict[DocumentKey, DocumentStatus]:
        """What the store says of documents."""
        found = {}
        for key, value in self.records.items():
            if key.startswith(keys.STATUS_POLICY):
                try:
                    found[keys.parse_document(keys.STATUS_POLICY, key)] = records.decode(DocumentStatus, key, value)
                except (InvalidRecord, InvalidName) as error:
                    logger.warning("a status cannot be read", extra={"key": key, "error": str(error)})
        return found

    def controller(self) -> ControllerStatus | None:
        """What the last publication said of itself."""
        value = self.records.get(keys.STATUS_CONTROLLER)
        try:
            return None if value is None else records.decode(ControllerStatus, keys.STATUS_CONTROLLER, value)
        except InvalidRecord as error:
            logger.warning("the controller's status cannot be read", extra={"error": str(error)})
            return None

    def remembered(self) -> dict[ServiceName, ServiceFacts]:
        """The protocols of services that have compiled rules, for those whose instances are all gone."""
        return {
            service: ServiceFacts(protocol, registered=False)
            for service, protocol in self.protocols.items()
            if keys.compiled_service(service) in self.payloads
        }

    def digest(self) -> str:
        """One hash over all compiled payloads: equal for equal rules, whoever published them."""
        whole = sha256()
        for key in sorted(self.payloads):
            whole.update(f"{key}\0{len(self.payloads[key])}\0".encode() + self.payloads[key])
        return whole.hexdigest()

    def take(self, operations: Iterable[Operation], *, written: Revision) -> None:
        """Operations that were applied at revision `written`."""
        for operation in operations:
            if isinstance(operation, Put):
                self._load(Item(operation.key, operation.value, written, written, 1))
            else:
                self.payloads.pop(operation.key, None)
                self.records.pop(operation.key, None)
                if operation.key.startswith(keys.LASTGOOD):
                    self.last_good.pop(keys.parse_document(keys.LASTGOOD, operation.key), None)

    def _load(self, item: Item) -> None:
        key = item.key
        try:
            if key == keys.COMPILED_HEAD:
                self.head_written = item.mod_revision
                self.head = compiled.decode(compiled.Head, item.value)[0]
            elif key.startswith((keys.COMPILED_SERVICE, keys.COMPILED_GATEWAY)) or key == keys.COMPILED_MESH:
                self.payloads[key] = b""
                if key.startswith(keys.COMPILED_SERVICE):
                    service = compiled.decode(compiled.Service, item.value)[0]
                    self.protocols[keys.parse_compiled_service(key)] = Protocol(service.protocol)
                self.payloads[key] = compiled.payload(item.value)
            elif key.startswith(keys.LASTGOOD):
                self.last_good[keys.parse_document(keys.LASTGOOD, key)] = LastGood.decode(key, item.value)
            elif key.startswith("status/"):
                self.records[key] = item.value
        except (compiled.InvalidCompiled, InvalidRecord, InvalidName) as error:
            logger.warning("a key of the controller cannot be read", extra={"key": key, "error": str(error)})


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write. `rules` are the compiled keys that change; `oversized` those too large to be stored, left as they are."""

    operations: tuple[Operation, ...]
    rules: tuple[str, ...]
    oversized: tuple[str, ...]


def plan(
    outputs: Outputs,
    compilation: Compilation,
    *,
    source_revision: Revision,
    in_progress: frozenset[DocumentKey] = frozenset(),
    misplaced: Mapping[str, Item],
    changes: Iterable[Change],
    now: float,
) -> Plan:
    """Everything but head: compiled rules, statuses, last good versions and log entries that differ from what is stored.

    The status of a document whose set is still being written (`in_progress`) is left as it is.
    """
    rules: list[Operation] = []
    oversized = []
    wanted = _payloads(compilation)
    for key, value in wanted.items():
        if compiled.pack(value) != outputs.payloads.get(key):
            put = Put(key, compiled.encode(value, source_revision=source_revision))
            if len(put.value) > MAX_VALUE:
                oversized.append(key)
            else:
                rules.append(put)
    rules += [Delete(key) for key in sorted(outputs.payloads) if key not in wanted]
    operations = [
        *rules,
        *_status_changes(outputs, compilation, in_progress, misplaced),
        *_last_good_changes(outputs, compilation),
        *_log(changes, now),
    ]
    return Plan(tuple(operations), tuple(operation.key for operation in rules), tuple(oversized))


def _payloads(compilation: Compilation) -> dict[str, compiled.Compiled]:
    return {
        keys.COMPILED_MESH: compilation.mesh,
        **{keys.compiled_service(service): value for service, value in compilation.services.items()},
        **{keys.compiled_gateway(name): value for name, value in compilation.gateways.items()},
    }


def _status_changes(
    outputs: Outputs, compilation: Compilation, in_progress: frozenset[DocumentKey], misplaced: Mapping[str, Item]
) -> Iterable[Operation]:
    wanted = {
        keys.document(keys.STATUS_POLICY, key): status_value(status) for key, status in compilation.statuses.items()
    }
    for name, item in misplaced.items():
        if name.startswith(keys.POLICY):
            wanted[keys.STATUS_POLICY + name.removeprefix(keys.POLICY)] = status_value(_misplaced(name, item))
    kept = {keys.document(keys.STATUS_POLICY, key) for key in in_progress}
    for key, value in wanted.items():
        if key not in kept and outputs.records.get(key) != value:
            yield Put(key, value)
    for key in sorted(outputs.records):
        if key.startswith(keys.STATUS_POLICY) and key not in wanted:
            yield Delete(key)


def status_value(status: DocumentStatus) -> bytes:
    """A status as stored; of a document with hundreds of errors the first hundred."""
    return records.encode(
        DocumentStatus(
            state=status.state,
            revision=status.revision,
            in_force=status.in_force,
            errors=status.errors[:MAX_PROBLEMS],
            notes=status.notes[:MAX_PROBLEMS],
            applies_to=status.applies_to,
        )
    )


def _misplaced(name: str, item: Item) -> DocumentStatus:
    said = f"{name} is no key of a document: write policy/<namespace>/<kind in lower case>/<name>, each a name"
    return DocumentStatus("rejected", item.mod_revision, "none", errors=(diagnostic("bad_key", said).problem(),))


def _last_good_changes(outputs: Outputs, compilation: Compilation) -> Iterable[Operation]:
    for stored in compilation.accepted:
        known = outputs.last_good.get(stored.key)
        if known is None or known.revision != stored.modified:
            yield Put(keys.document(keys.LASTGOOD, stored.key), LastGood(stored.modified, stored.document).encode())
    for key in sorted(outputs.last_good):
        if key not in compilation.statuses:
            yield Delete(keys.document(keys.LASTGOOD, key))


def _log(changes: Iterable[Change], now: float) -> Iterable[Operation]:
    for change in changes:
        text = None if change.document is None else change.document.decode(errors="replace")
        entry = LogEntry(document=text, at=now, gap=change.gap)
        yield Put(keys.log(change.revision, change.key), records.encode(entry))


def missed(outputs: Outputs, documents: Mapping[DocumentKey, Item], *, revision: Revision) -> list[Change]:
    """The changes that no leader saw: made between the last one's end and now."""
    statuses = outputs.statuses()
    seen = {key: statuses[key].revision for key in statuses}
    found = [
        Change(key, item.mod_revision, item.value, gap=item.version > 1)
        for key, item in documents.items()
        if seen.get(key) != item.mod_revision
    ]
    gone = [Change(key, revision, None, gap=True) for key in outputs.last_good if key not in documents]
    return [*found, *gone]
