"""Leases over etcd.

A keepalive is a short stream of its own: one request, one answer, one deadline; nothing to resume and nothing that a
frozen member can hold. An answer of TTL 0 is how etcd says that the lease is dead; it is no error to it, but to us.
"""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta

import grpc
import grpc.aio

from registry.etcd import messages
from registry.etcd.channel import ATTEMPT, Endpoint, Endpoints
from registry.etcd.errors import LeaseExistsError
from registry.store import Lease, LeaseId, LeaseLostError, StoreUnavailableError


class EtcdLeases:
    """`Leases` of one etcd."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    async def grant(self, ttl: timedelta, *, lease: LeaseId | None = None) -> Lease:
        """See `Leases.grant`. Whole seconds; etcd raises what is below one and a half of its election time-outs."""
        request = messages.LeaseGrantRequest(TTL=max(1, math.ceil(ttl.total_seconds())), ID=lease or 0)
        while True:
            try:
                reply = await self._endpoints.unary("Lease/LeaseGrant", request, messages.LeaseGrantResponse)
                return Lease(LeaseId(reply.ID), timedelta(seconds=reply.TTL))
            except LeaseExistsError:
                assert lease is not None, "etcd chose an id that exists"
            try:
                return Lease(lease, await self.keep_alive(lease))
            except LeaseLostError:
                continue  # it ended between the two

    async def keep_alive(self, lease: LeaseId) -> timedelta:
        """See `Leases.keep_alive`."""

        async def once(endpoint: Endpoint, metadata: tuple[tuple[str, str], ...]) -> int:
            stream = endpoint.stream(
                "/etcdserverpb.Lease/LeaseKeepAlive",
                messages.LeaseKeepAliveRequest,
                messages.LeaseKeepAliveResponse,
                metadata,
                timeout=ATTEMPT,
            )
            try:
                await stream.write(messages.LeaseKeepAliveRequest(ID=lease))
                reply = await stream.read()
            except grpc.aio.AioRpcError as error:
                raise endpoint.meaning(error) from error
            except asyncio.InvalidStateError as error:
                raise StoreUnavailableError(f"etcd at {endpoint.url} ended the keepalive") from error
            finally:
                stream.cancel()
            if reply is grpc.aio.EOF:
                raise StoreUnavailableError(f"etcd at {endpoint.url} ended the keepalive without an answer")
            return int(reply.TTL)

        left = await self._endpoints.attempt(once)
        if left <= 0:
            raise LeaseLostError(f"lease {lease:x} is gone: grant it and register again")
        return timedelta(seconds=left)

    async def revoke(self, lease: LeaseId) -> None:
        """See `Leases.revoke`."""
        try:
            await self._endpoints.unary(
                "Lease/LeaseRevoke", messages.LeaseRevokeRequest(ID=lease), messages.LeaseRevokeResponse
            )
        except LeaseLostError:
            return
