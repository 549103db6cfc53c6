"""Watches over etcd: one stream for all prefixes of a follower, resumed where it broke, on whichever member answers.

A stream that fails is opened again from the last revision told, on the next endpoint, after 100 ms to 2 s. A member
that is frozen is noticed by its silence: every `HEARTBEAT` of quiet a progress request is sent, and one that is not
answered within `SILENCE` ends the stream. A quiet watch therefore still yields progress every few seconds, which is how
a reader knows that it is connected.

How it fails: `CompactedError` when what comes next is forgotten or cannot be trusted (list again);
`PermissionDeniedError`; `StoreUnavailableError` once the store is closed. Nothing else ends it.

What it costs: one stream and one etcd watch per prefix; one small request every `HEARTBEAT` of quiet. With several
prefixes also one request per burst of changes, at most every 20 ms, which proves that revisions are whole.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import grpc
import grpc.aio

from registry.etcd import messages
from registry.etcd.channel import ATTEMPT, BACK_OFF, Endpoint, Endpoints
from registry.etcd.errors import TokenExpiredError, meaning
from registry.etcd.kv import apart, item_of
from registry.etcd.merge import Merge, OutOfOrderError
from registry.etcd.messages import Wire
from registry.store import Batch, CompactedError, Event, Revision, StoreUnavailableError

logger = logging.getLogger(__name__)

HEARTBEAT = 2.0
SILENCE = 3.0
PROOF_INTERVAL = 0.02
ALL_WATCHES = -1


class EtcdWatches:
    """`Watches` below one root."""

    def __init__(self, endpoints: Endpoints, root: str) -> None:
        self._endpoints = endpoints
        self._root = root.encode()

    @asynccontextmanager
    async def watch(self, *prefixes: str, start: Revision) -> AsyncIterator[AsyncIterator[Batch]]:
        """See `Watches.watch`."""
        if start < 1:
            raise ValueError(f"a watch starts at a revision, not at {start}: list first, and watch from the next")
        async with aclosing(self._batches(apart(prefixes), Revision(start - 1))) as batches:
            yield batches

    async def _batches(self, prefixes: Sequence[str], told: Revision) -> AsyncGenerator[Batch, None]:
        wait = BACK_OFF[0]
        while True:
            endpoint = self._endpoints.current
            try:
                if self._endpoints.closed:
                    raise StoreUnavailableError("the etcd store is closed")
                metadata = await self._endpoints.ready(endpoint)
                stream = _Stream(endpoint, metadata, self._root, prefixes, told)
                async with aclosing(stream.batches()) as batches:
                    async for batch in batches:
                        told = max(told, batch.revision)
                        wait = BACK_OFF[0]
                        yield batch
            except TokenExpiredError:
                self._endpoints.forget_login(metadata)
            except OutOfOrderError as error:
                logger.warning("a watch was told out of order", extra={"endpoint": endpoint.url, "error": str(error)})
                raise CompactedError(Revision(told + 1)) from error
            except StoreUnavailableError as error:
                if self._endpoints.closed:
                    raise
                self._endpoints.rotate(endpoint, error)
                logger.debug("watch broke", extra={"endpoint": endpoint.url, "revision": told, "error": str(error)})
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(wait * 2, BACK_OFF[1])


class _Stream:
    """One stream to one member, until it breaks."""

    def __init__(
        self,
        endpoint: Endpoint,
        metadata: tuple[tuple[str, str], ...],
        root: bytes,
        prefixes: Sequence[str],
        told: Revision,
    ) -> None:
        self._endpoint = endpoint
        self._metadata = metadata
        self._root = root
        self._prefixes = prefixes
        self._told = told
        self._merge = Merge(watches=len(prefixes), told=told)
        self._created = 0
        self._asked: float | None = None  # when progress was last asked for, and no answer has come since
        self._answers = False  # whether this stream has answered one: etcd is silent while a watch is not in step
        self._loop = asyncio.get_running_loop()
        self._next_proof = 0.0

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Batches from the first untold revision on; raises when the stream ends, for whatever reason."""
        self._call = self._endpoint.stream(
            "/etcdserverpb.Watch/Watch", messages.WatchRequest, messages.WatchResponse, self._metadata, timeout=None
        )
        pending: asyncio.Future[Wire] | None = None
        try:
            for number, prefix in enumerate(self._prefixes, start=1):
                await self._create(number, prefix)
            heard = self._loop.time()
            while True:
                if pending is None:
                    pending = asyncio.ensure_future(self._call.read())
                done, _ = await asyncio.wait({pending}, timeout=self._patience(heard))
                if not done:
                    await self._quiet(heard)
                    continue
                response, pending = pending.result(), None
                heard = self._loop.time()
                for batch in await self._take(response):
                    yield batch
        except grpc.aio.AioRpcError as error:
            raise self._endpoint.meaning(error) from error
        except (asyncio.InvalidStateError, grpc.aio.UsageError) as error:
            raise StoreUnavailableError(f"etcd at {self._endpoint.url} ended the watch") from error
        finally:
            self._call.cancel()
            if pending is not None:
                await asyncio.gather(pending, return_exceptions=True)

    async def _create(self, number: int, prefix: str) -> None:
        """Watch ids start at 1, because 0 means "choose one". From the revision told: progress needs one that exists."""
        key = self._root + prefix.encode()
        create = messages.WatchCreateRequest(
            key=key or b"\0",
            range_end=messages.range_end(key),
            start_revision=max(self._told, 1),
            watch_id=number,
            fragment=True,
        )
        await self._write(messages.WatchRequest(create_request=create))

    async def _write(self, request: Wire) -> None:
        """A frozen member's window can be full: a write is no more patient than a read."""
        try:
            async with asyncio.timeout(ATTEMPT):
                await self._call.write(request)
        except TimeoutError as error:
            raise StoreUnavailableError(f"etcd at {self._endpoint.url} reads nothing") from error

    def _patience(self, heard: float) -> float:
        """How long to wait for the next response before doing something."""
        now = self._loop.time()
        if self._merge.waiting and self._asked is None:
            return max(self._next_proof - now, 0.0)
        if self._asked is not None:
            retry = self._asked + (PROOF_INTERVAL * 5 if self._merge.waiting else SILENCE)
            return max(retry - now, 0.001)
        return max(heard + HEARTBEAT - now, 0.001)

    async def _quiet(self, heard: float) -> None:
        now = self._loop.time()
        silent = now - heard
        if self._created < len(self._prefixes) and silent >= SILENCE:
            raise StoreUnavailableError(f"etcd at {self._endpoint.url} does not answer a watch")
        if self._asked is not None and self._answers and silent >= HEARTBEAT + SILENCE:
            raise StoreUnavailableError(f"etcd at {self._endpoint.url} has been silent for {silent:.1f} s")
        if self._created == len(self._prefixes):
            await self._ask()
        else:
            self._asked = now

    async def _ask(self) -> None:
        now = self._loop.time()
        self._asked = now
        self._next_proof = now + PROOF_INTERVAL
        await self._write(messages.WatchRequest(progress_request=messages.WatchProgressRequest()))

    async def _take(self, response: Wire) -> list[Batch]:
        if response is grpc.aio.EOF:
            raise self._ended(await self._call.code(), await self._call.details())
        if response.canceled:
            if response.compact_revision:
                raise CompactedError(Revision(response.compact_revision))
            raise self._ended(grpc.StatusCode.UNAVAILABLE, response.cancel_reason)
        if response.created:
            self._created += 1
            return []
        if response.events:
            events = [self._event(event) for event in response.events]
            batches = self._merge.events(response.watch_id, events, fragment=response.fragment)
            if self._merge.waiting and self._asked is None and self._loop.time() >= self._next_proof:
                await self._ask()
            return batches
        if response.watch_id != ALL_WATCHES and len(self._prefixes) > 1:
            return []  # progress of one watch proves nothing about the others
        self._asked, self._answers = None, True
        return self._merge.progress(response.header.revision)

    def _ended(self, code: grpc.StatusCode, details: str | None) -> Exception:
        if code is grpc.StatusCode.OK:
            code = grpc.StatusCode.UNAVAILABLE
        text = details or "the watch was ended"
        if "permission denied" in text.lower():
            code = grpc.StatusCode.PERMISSION_DENIED
        return meaning(code, text, endpoint=self._endpoint.url)

    def _event(self, event: Wire) -> Event:
        item = item_of(event.kv, self._root)
        return Event(item.key, item.mod_revision, None if event.type == messages.DELETE_EVENT else item)
