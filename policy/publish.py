"""The leader's loop: follow documents and services, compile, write what changed, head last.

One task follows the store, one writes. The first change is published at once; what comes within the next 100 ms is
gathered. Every transaction compares the creation revision of the election key and the modification revision of head, so
that a leader that was deposed without noticing writes nothing. A publication may take several transactions; hosts apply
it when head arrives, and head is in the last.

How it fails: it ends when leadership is lost. While the store is away it waits and tries again, reading back what it had
written, because the outcome of the last write is unknown. A defect in compiling is logged, told in `status/controller`,
and costs that publication only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

from policy import compiled, records
from policy.compile import Compilation, compile_documents
from policy.dryrun import DryRuns, dryrun_changes, overlaid
from policy.history import trim_log
from policy.inputs import Changed, Inputs
from policy.outputs import MAX_VALUE, Outputs, missed, plan
from policy.records import ControllerStatus
from policy.standing import report_rollout
from registry import keys
from registry.election import Leadership
from registry.store import MAX_OPERATIONS, Compare, Operation, Put, Revision, Store, StoreError
from registry.sync import Changed as BatchArrived
from registry.sync import Relisted, follow

logger = logging.getLogger(__name__)

GATHER = timedelta(milliseconds=100)
RETRY_FIRST = 0.1
RETRY_LAST = 2.0
HOUSEKEEPING = 60.0
LOOK_AT_ENDS = 1.0
MAX_CHANGED = 1_000  # keys that head names; more are "all"


class FencedError(Exception):
    """A transaction found that the election key or head is no longer what this leader knows."""

    code = "fenced"


async def publish(
    store: Store,
    leadership: Leadership,
    *,
    leader: str,
    clock: Callable[[], float] = time.time,
    gather: timedelta = GATHER,
) -> None:
    """Lead until leadership is lost. `leader` is this controller's name; `clock` gives seconds since the epoch."""
    publisher = Publisher(store, leadership, leader=leader, clock=clock, gather=gather)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(publisher.follow()),
            group.create_task(publisher.write()),
            group.create_task(publisher.housekeep()),
            group.create_task(publisher.tell_ends()),
            group.create_task(report_rollout(store, leadership)),
        ]
        await leadership.lost.wait()
        for task in tasks:
            task.cancel()


class Publisher:
    """What `publish` runs: inputs as followed, outputs as last written, and what is still to do."""

    def __init__(
        self,
        store: Store,
        leadership: Leadership,
        *,
        leader: str,
        clock: Callable[[], float],
        gather: timedelta,
    ) -> None:
        self._store = store
        self._leadership = leadership
        self._leader = leader
        self._clock = clock
        self._gather = gather.total_seconds()
        self._inputs = Inputs()
        self._outputs: Outputs | None = None
        self._dryruns = DryRuns()
        self._due = Changed.NOTHING
        self._woken = asyncio.Event()
        self._next_end: float | None = None
        self._first = True
        self._last_error = ""

    def __repr__(self) -> str:
        return f"Publisher(leader={self._leader!r}, due={self._due}, inputs={self._inputs!r})"

    async def follow(self) -> None:
        """Feed the inputs, for ever."""
        async with aclosing(follow(self._store, Inputs.PREFIXES)) as updates:
            async for update in updates:
                if isinstance(update, Relisted):
                    self._wake(self._inputs.relist(update.listing) | Changed.POLICY)
                elif isinstance(update, BatchArrived):
                    self._wake(self._inputs.apply(update.batch))

    async def write(self) -> None:
        """Publish what is due, for ever; at most one publication in the gathering time."""
        loop = asyncio.get_running_loop()
        patience = RETRY_FIRST
        while not self._leadership.lost.is_set():
            await self._woken.wait()
            started = loop.time()
            due = self._take_due()
            try:
                await self._publish(due)
                patience = RETRY_FIRST
            except (StoreError, FencedError) as error:
                log = logger.warning if patience == RETRY_FIRST else logger.debug
                log("a publication waits for the store", extra={"error": str(error)})
                self._outputs = None
                self._wake(due | Changed.POLICY)
                await asyncio.sleep(patience)
                patience = min(2 * patience, RETRY_LAST)
            except Exception as error:
                logger.exception("a publication failed")
                await self._tell_failure(error)
            await asyncio.sleep(max(0.0, self._gather - (loop.time() - started)))

    async def housekeep(self) -> None:
        """What only time brings: dry runs that are an hour old, log entries beyond what is kept."""
        while True:
            await asyncio.sleep(HOUSEKEEPING)
            self._wake(Changed.DRYRUN)
            try:
                await trim_log(self._store, self._leadership, now=self._clock())
            except StoreError as error:
                logger.debug("the log is trimmed later", extra={"error": str(error)})

    async def tell_ends(self) -> None:
        """When a fault has ended its status says so, within a second."""
        while True:
            await asyncio.sleep(LOOK_AT_ENDS)
            if self._next_end is not None and self._clock() >= self._next_end:
                self._next_end = None
                self._wake(Changed.POLICY)

    def _wake(self, changed: Changed) -> None:
        self._due |= changed
        if self._due:
            self._woken.set()

    def _take_due(self) -> Changed:
        due, self._due = self._due, Changed.NOTHING
        self._woken.clear()
        return due

    async def _publish(self, due: Changed) -> None:
        outputs = await self._load()
        if due & (Changed.POLICY | Changed.SERVICES):
            await self._publish_rules(outputs)
        elif due & Changed.BARRIER:
            await self._tell_seen(outputs)
        if due & (Changed.DRYRUN | Changed.POLICY):
            await self._publish_dryruns(outputs)

    async def _publish_rules(self, outputs: Outputs) -> None:
        inputs = self._inputs
        revision = Revision(max(inputs.revision, outputs.head.source_revision if outputs.head else 0))
        changes = {(change.revision, change.key): change for change in inputs.changes}
        if self._first:
            unseen = missed(outputs, inputs.documents, revision=revision)
            changes = {(change.revision, change.key): change for change in unseen} | changes
        documents = inputs.stored(outputs.last_good)
        services = {**outputs.remembered(), **inputs.services()}
        logged = len(inputs.changes)
        compilation = await asyncio.to_thread(compile_documents, documents, services, now=self._clock())
        self._next_end = compilation.next_end
        planned = plan(
            outputs,
            compilation,
            source_revision=revision,
            in_progress=frozenset(one.key for one in documents if one.held and not one.expired),
            misplaced=inputs.misplaced,
            changes=changes.values(),
            now=self._clock(),
        )
        self._last_error = f"too large to be stored: {', '.join(planned.oversized)}" if planned.oversized else ""
        if not (planned.operations or self._first or self._uncovered(outputs)):
            return
        changed = None if self._first or len(planned.rules) > MAX_CHANGED else planned.rules
        finish = self._controller(_counts(compilation), revision, at=self._clock())
        await self._write([*planned.operations, finish], outputs, head=(revision, changed))
        del inputs.changes[:logged]
        self._first = False
        logger.info("policy published", extra={"revision": revision, "changed": len(planned.rules)})

    def _uncovered(self, outputs: Outputs) -> bool:
        """Whether a document changed that head does not cover yet, although no rule follows from it."""
        newest = max((item.mod_revision for item in self._inputs.documents.values()), default=0)
        return outputs.head is None or newest > outputs.head.source_revision or bool(self._inputs.changes)

    async def _tell_seen(self, outputs: Outputs) -> None:
        """Somebody waits for a revision at which no document changed: say that this leader has looked that far."""
        status = outputs.controller()
        if status is not None and status.seen < self._inputs.revision:
            await self._write([self._controller(status.counts, status.source_revision, at=status.at)], outputs)

    async def _tell_failure(self, error: Exception) -> None:
        """What was in force stays; the next change is another attempt."""
        self._last_error = f"{type(error).__name__}: {error}"[:1_000]
        self._outputs = None
        try:
            outputs = await self._load()
            status = outputs.controller() or ControllerStatus(self._leader, source_revision=0, seen=0)
            told = records.encode(replace(status, leader=self._leader, last_error=self._last_error))
            await self._write([Put(keys.STATUS_CONTROLLER, told)], outputs)
        except (StoreError, FencedError) as failure:
            logger.debug("the failure could not be told", extra={"error": str(failure)})

    async def _publish_dryruns(self, outputs: Outputs) -> None:
        inputs = self._inputs
        gone = self._dryruns.expired(inputs.dryruns, now=asyncio.get_running_loop().time())
        if inputs.dryruns:
            documents = overlaid(inputs.stored(outputs.last_good), inputs.dryruns)
            services = {**outputs.remembered(), **inputs.services()}
            statuses = (await asyncio.to_thread(compile_documents, documents, services, now=self._clock())).statuses
        else:
            statuses = {}
        await self._write([*gone, *dryrun_changes(outputs, statuses, inputs.dryruns)], outputs)

    def _controller(self, counts: Mapping[str, int], source_revision: int, *, at: float) -> Put:
        status = ControllerStatus(
            leader=self._leader,
            source_revision=source_revision,
            seen=max(self._inputs.revision, source_revision),
            counts=counts,
            last_error=self._last_error,
            at=at,
        )
        return Put(keys.STATUS_CONTROLLER, records.encode(status))

    async def _load(self) -> Outputs:
        """What the store holds of ours, read linearizably at takeover and whenever a write's outcome is unknown."""
        if self._outputs is None:
            self._outputs = Outputs.of(await self._store.list(*Outputs.PREFIXES))
            self._inputs.remember_expired(self._outputs.statuses())
        return self._outputs

    async def _write(
        self,
        operations: Sequence[Operation],
        outputs: Outputs,
        *,
        head: tuple[Revision, tuple[str, ...] | None] | None = None,
    ) -> None:
        """Apply in as few transactions as fit, each fenced; with `head` (source revision, keys changed) it comes last."""
        chunks = in_transactions(operations)
        for index, chunk in enumerate(chunks):
            last = index == len(chunks) - 1
            outputs_after = chunk
            if last and head is not None:
                outputs_after = [*chunk, self._head(chunk, outputs, *head)]
            done = await self._store.transact(self._guards(outputs), outputs_after)
            if not done.applied:
                raise FencedError(f"{self._leadership.key} or {keys.COMPILED_HEAD} was changed by somebody else")
            outputs.take(outputs_after, written=done.revision)

    def _head(
        self, chunk: Sequence[Operation], outputs: Outputs, revision: Revision, changed: tuple[str, ...] | None
    ) -> Put:
        outputs.take(chunk, written=revision)  # the digest is that of what holds once this transaction is through
        head = compiled.Head(source_revision=revision, digest=outputs.digest(), changed=changed)
        return Put(keys.COMPILED_HEAD, compiled.encode(head, source_revision=revision))

    def _guards(self, outputs: Outputs) -> list[Compare]:
        return [
            Compare(self._leadership.key, create_revision=self._leadership.create_revision),
            Compare(keys.COMPILED_HEAD, mod_revision=outputs.head_written),
        ]


def in_transactions(operations: Sequence[Operation]) -> list[list[Operation]]:
    """The operations in order, in as few lists as a transaction takes, each with room for head."""
    chunks: list[list[Operation]] = [[]]
    size = 0
    for operation in operations:
        length = len(operation.key) + len(getattr(operation, "value", b""))
        if len(chunks[-1]) == MAX_OPERATIONS - 1 or (chunks[-1] and size + length > MAX_VALUE):
            chunks.append([])
            size = 0
        chunks[-1].append(operation)
        size += length
    return [chunk for chunk in chunks if chunk]


def _counts(compilation: Compilation) -> dict[str, int]:
    states: Counter[str] = Counter(status.state for status in compilation.statuses.values())
    return {
        "documents": len(compilation.statuses),
        **states,
        "services": len(compilation.services),
        "gateways": len(compilation.gateways),
    }
