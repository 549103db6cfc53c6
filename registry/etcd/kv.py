"""Keys and values over etcd. Keys are made absolute and relative again here and in `watch`, nowhere else.

Lists are read in pages at one revision, so that no answer comes near the receive limit however large the mesh is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from registry.etcd import messages
from registry.etcd.channel import Endpoints
from registry.etcd.errors import TooLargeError
from registry.etcd.messages import Wire
from registry.store import (
    NO_LEASE,
    CompactedError,
    Compare,
    Item,
    LeaseId,
    Listing,
    Operation,
    Put,
    Revision,
    StoreError,
    StoreUnavailableError,
    Transaction,
    check_transaction,
)

PAGE = 5_000
_TRIES = 5


class EtcdKeyValue:
    """`KeyValue` below one root."""

    def __init__(self, endpoints: Endpoints, root: str) -> None:
        self._endpoints = endpoints
        self._root = root.encode()

    async def get(self, key: str) -> Item | None:
        """See `KeyValue.get`."""
        reply = await self._range(messages.RangeRequest(key=self._absolute(key)))
        return item_of(reply.kvs[0], self._root) if reply.kvs else None

    async def list(self, *prefixes: str, revision: Revision | None = None, keys_only: bool = False) -> Listing:
        """See `KeyValue.list`."""
        for attempt in range(_TRIES):
            try:
                return await self._list(apart(prefixes), revision, keys_only)
            except CompactedError as error:
                if revision is not None:
                    raise CompactedError(Revision(revision + 1)) from error
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable: the last attempt raises or returns")

    async def put(self, key: str, value: bytes, *, lease: LeaseId = NO_LEASE) -> Revision:
        """See `KeyValue.put`."""
        request = messages.PutRequest(key=self._absolute(key), value=value, lease=lease)
        reply = await self._endpoints.unary("KV/Put", request, messages.PutResponse)
        return Revision(reply.header.revision)

    async def delete(self, key: str, *, prefix: bool = False) -> Revision:
        """See `KeyValue.delete`."""
        reply = await self._endpoints.unary(
            "KV/DeleteRange", self._delete(key, prefix=prefix), messages.DeleteRangeResponse
        )
        return Revision(reply.header.revision)

    async def transact(
        self, guards: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Transaction:
        """See `KeyValue.transact`. Repeated by itself only without guards, or where it cannot have happened."""
        check_transaction(guards, then, otherwise)
        request = messages.TxnRequest(
            compare=[self._compare(guard) for guard in guards],
            success=[self._operation(operation) for operation in then],
            failure=[self._operation(operation) for operation in otherwise],
        )
        reply = await self._endpoints.unary("KV/Txn", request, messages.TxnResponse, repeat=not guards)
        return Transaction(bool(reply.succeeded), Revision(reply.header.revision))

    async def _list(self, prefixes: Sequence[str], revision: Revision | None, keys_only: bool) -> Listing:
        items: list[Item] = []
        for prefix in prefixes:
            async for reply in self._pages(prefix, revision, keys_only):
                revision = Revision(reply.header.revision) if revision is None else revision
                items += [item_of(kv, self._root) for kv in reply.kvs]
        if revision is None:
            reply = await self._range(messages.RangeRequest(key=self._root))
            revision = Revision(reply.header.revision)
        return Listing(revision, tuple(sorted(items, key=lambda item: item.key)))

    async def _pages(self, prefix: str, revision: Revision | None, keys_only: bool) -> AsyncIterator[Wire]:
        start = self._absolute(prefix)
        end = messages.range_end(start)
        limit = PAGE
        while True:
            request = messages.RangeRequest(
                key=start or b"\0", range_end=end, limit=limit, revision=revision or 0, keys_only=keys_only
            )
            try:
                reply = await self._range(request)
            except TooLargeError:
                if limit == 1:
                    raise
                limit = max(limit // 8, 1)
                continue
            revision = Revision(reply.header.revision) if revision is None else revision
            yield reply
            if not reply.more:
                return
            start = bytes(reply.kvs[-1].key) + b"\0"

    async def _range(self, request: Wire) -> Wire:
        try:
            return await self._endpoints.unary("KV/Range", request, messages.RangeResponse)
        except StoreError as error:
            if "future revision" in str(error):
                raise StoreUnavailableError(f"{error}: it lags behind, or was restored from a backup") from error
            raise

    def _absolute(self, key: str) -> bytes:
        return self._root + key.encode()

    def _delete(self, key: str, *, prefix: bool) -> Wire:
        start = self._absolute(key)
        end = messages.range_end(start) if prefix else b""
        return messages.DeleteRangeRequest(key=start, range_end=end)

    def _operation(self, operation: Operation) -> Wire:
        if isinstance(operation, Put):
            put = messages.PutRequest(key=self._absolute(operation.key), value=operation.value, lease=operation.lease)
            return messages.RequestOp(request_put=put)
        return messages.RequestOp(request_delete_range=self._delete(operation.key, prefix=operation.prefix))

    def _compare(self, guard: Compare) -> Wire:
        key = self._absolute(guard.key)
        if guard.value is not None:
            return messages.Compare(result=messages.EQUAL, target=messages.TARGET_VALUE, key=key, value=guard.value)
        if guard.create_revision is not None:
            return messages.Compare(
                result=messages.EQUAL, target=messages.TARGET_CREATE, key=key, create_revision=guard.create_revision
            )
        return messages.Compare(
            result=messages.EQUAL, target=messages.TARGET_MOD, key=key, mod_revision=guard.mod_revision
        )


def item_of(kv: Wire, root: bytes) -> Item:
    """An item with its key relative to the root."""
    return Item(
        key=bytes(kv.key)[len(root) :].decode(errors="replace"),
        value=bytes(kv.value),
        create_revision=Revision(kv.create_revision),
        mod_revision=Revision(kv.mod_revision),
        version=kv.version,
        lease=LeaseId(kv.lease),
    )


def apart(prefixes: Sequence[str]) -> tuple[str, ...]:
    """The prefixes without those that another covers, so that nothing is read or told twice."""
    distinct = sorted(set(prefixes))
    return tuple(
        prefix for prefix in distinct if not any(prefix != other and prefix.startswith(other) for other in distinct)
    )
