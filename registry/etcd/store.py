"""`EtcdStore`: the store of `registry.store`, over etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from registry.etcd.channel import Endpoints
from registry.etcd.config import EtcdConfig
from registry.etcd.kv import EtcdKeyValue
from registry.etcd.lease import EtcdLeases
from registry.etcd.watch import EtcdWatches
from registry.store import (
    NO_LEASE,
    Batch,
    Compare,
    Item,
    Lease,
    LeaseId,
    Listing,
    Operation,
    Revision,
    StoreUnavailableError,
    Transaction,
)


class EtcdStore:
    """A `Store` below one root of an etcd. Connects when it is first used, so that it can be made while etcd is away."""

    def __init__(self, config: EtcdConfig) -> None:
        self._endpoints = Endpoints(config)
        self._root = config.root
        self._kv = EtcdKeyValue(self._endpoints, config.root)
        self._leases = EtcdLeases(self._endpoints)
        self._watches = EtcdWatches(self._endpoints, config.root)

    @classmethod
    async def connect(cls, config: EtcdConfig) -> EtcdStore:
        """A store; raises `InvalidEtcdConfig` where a file cannot be read. Must run in the loop that uses it."""
        return cls(config)

    def __repr__(self) -> str:
        return f"EtcdStore({self._endpoints.current.url}, root={self._root!r})"

    async def get(self, key: str) -> Item | None:
        """See `KeyValue.get`."""
        return await self._kv.get(key)

    async def list(self, *prefixes: str, revision: Revision | None = None, keys_only: bool = False) -> Listing:
        """See `KeyValue.list`."""
        return await self._kv.list(*prefixes, revision=revision, keys_only=keys_only)

    async def put(self, key: str, value: bytes, *, lease: LeaseId = NO_LEASE) -> Revision:
        """See `KeyValue.put`."""
        return await self._kv.put(key, value, lease=lease)

    async def delete(self, key: str, *, prefix: bool = False) -> Revision:
        """See `KeyValue.delete`."""
        return await self._kv.delete(key, prefix=prefix)

    async def transact(
        self, guards: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Transaction:
        """See `KeyValue.transact`."""
        return await self._kv.transact(guards, then, otherwise)

    async def grant(self, ttl: timedelta, *, lease: LeaseId | None = None) -> Lease:
        """See `Leases.grant`."""
        return await self._leases.grant(ttl, lease=lease)

    async def keep_alive(self, lease: LeaseId) -> timedelta:
        """See `Leases.keep_alive`."""
        return await self._leases.keep_alive(lease)

    async def revoke(self, lease: LeaseId) -> None:
        """See `Leases.revoke`."""
        await self._leases.revoke(lease)

    def watch(self, *prefixes: str, start: Revision) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """See `Watches.watch`."""
        return self._watches.watch(*prefixes, start=start)

    async def describe(self) -> str:
        """See `Store.describe`."""
        statuses = await self._endpoints.statuses()
        versions = sorted({str(status.version) for _, status in statuses if status is not None})
        if not versions:
            raise StoreUnavailableError(f"no etcd answers at {', '.join(url for url, _ in statuses)}")
        alive = sum(status is not None for _, status in statuses)
        return f"etcd {'/'.join(versions)}, {alive}/{len(statuses)} endpoints"

    async def close(self) -> None:
        """See `Store.close`."""
        await self._endpoints.close()
