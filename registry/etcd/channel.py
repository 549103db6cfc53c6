"""The way to etcd: one channel per endpoint, the next one when one fails, and nobody waited for without end.

Every call has a deadline per attempt, so that a frozen member costs seconds; streams have gRPC's keepalive besides.
Reads and idempotent writes are tried on all endpoints within `PATIENCE`; a guarded transaction only where the first
attempt cannot have happened, because its repetition would answer "not applied" about itself.

How it fails: `StoreUnavailableError` after `PATIENCE`; what etcd refuses is raised at once (`errors.meaning`).

What it costs: two TCP connections to one member in use (calls, watches); none to the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio

from registry.etcd import messages
from registry.etcd.config import EtcdConfig, InvalidEtcdConfig
from registry.etcd.errors import TokenExpiredError, meaning, was_not_sent
from registry.etcd.login import Login
from registry.etcd.messages import Wire
from registry.etcd.version import Version, check
from registry.store import PermissionDeniedError, StoreError, StoreUnavailableError

logger = logging.getLogger(__name__)

ATTEMPT = 3.0
PATIENCE = 7.0
BACK_OFF = (0.1, 2.0)
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.keepalive_time_ms", 10_000),  # etcd closes connections that ping more often than every 5 s
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),  # the one that newer cores look at
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
)

Result = TypeVar("Result")


class Endpoint:
    """One member's client address: a channel for calls, and one for watches, so that neither holds up the other."""

    def __init__(self, url: str, credentials: grpc.ChannelCredentials | None) -> None:
        scheme, _, address = url.partition("://")
        self.url = url
        self.version: Version | None = None
        """What it runs; None until the first call, or where it may not be asked."""
        self.checked = False
        target = f"dns:///{address.rstrip('/')}"
        self._calls, self._streams = (
            grpc.aio.secure_channel(target, credentials, options=_OPTIONS)
            if scheme == "https"
            else grpc.aio.insecure_channel(target, options=_OPTIONS)
            for _ in range(2)
        )

    def __repr__(self) -> str:
        return f"Endpoint({self.url}, {self.version or 'not asked'})"

    async def unary(self, method: str, request: Wire, reply: Wire, metadata: tuple[tuple[str, str], ...]) -> Wire:
        """One call, `ATTEMPT` at most; raises what the answer means."""
        call = self._calls.unary_unary(
            method, request_serializer=type(request).SerializeToString, response_deserializer=reply.FromString
        )
        try:
            return await call(request, timeout=ATTEMPT, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise self.meaning(error) from error
        except grpc.aio.UsageError as error:
            raise StoreUnavailableError(f"etcd at {self.url}: the store is closed") from error

    def stream(
        self, method: str, request: Wire, reply: Wire, metadata: tuple[tuple[str, str], ...], *, timeout: float | None
    ) -> Wire:
        """A stream both ways, on the channel of watches where it has no end."""
        channel = self._streams if timeout is None else self._calls
        start = channel.stream_stream(
            method, request_serializer=request.SerializeToString, response_deserializer=reply.FromString
        )
        return start(timeout=timeout, metadata=metadata)

    def meaning(self, error: grpc.RpcError) -> StoreError:
        """What a failed call says of this endpoint."""
        return meaning(error.code(), error.details() or "", endpoint=self.url)

    async def close(self) -> None:
        """Give both connections back."""
        await self._calls.close()
        await self._streams.close()


class Endpoints:
    """All endpoints of one etcd, the one in use, and the login they share."""

    def __init__(self, config: EtcdConfig) -> None:
        credentials = _credentials(config)
        self._endpoints = [Endpoint(url, credentials) for url in config.endpoints]
        self._current = 0
        self._login = Login(config)
        self.closed = False

    def __repr__(self) -> str:
        return f"Endpoints({self.current.url} of {len(self._endpoints)})"

    @property
    def current(self) -> Endpoint:
        """The one in use."""
        return self._endpoints[self._current]

    def rotate(self, failed: Endpoint, why: StoreError) -> None:
        """Use the next one, unless somebody has already left the one that failed."""
        if failed is self.current and len(self._endpoints) > 1:
            self._current = (self._current + 1) % len(self._endpoints)
            logger.warning("etcd endpoint left", extra={"endpoint": failed.url, "error": str(why)})

    async def unary(self, method: str, request: Wire, reply: Wire, *, repeat: bool = True) -> Wire:
        """Call a method (`KV/Range`) wherever it is answered. `repeat` says that a second time does no harm."""

        async def once(endpoint: Endpoint, metadata: tuple[tuple[str, str], ...]) -> Wire:
            return await endpoint.unary(f"/etcdserverpb.{method}", request, reply, metadata)

        return await self.attempt(once, repeat=repeat)

    async def attempt(
        self, once: Callable[[Endpoint, tuple[tuple[str, str], ...]], Awaitable[Result]], *, repeat: bool = True
    ) -> Result:
        """What `once` gives on the first endpoint that answers it; see the module's text for what is repeated."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        wait, failures = BACK_OFF[0], 0
        while True:
            if self.closed:
                raise StoreUnavailableError("the etcd store is closed")
            endpoint = self.current
            try:
                return await self._logged_in(once, endpoint)
            except StoreUnavailableError as error:
                self.rotate(endpoint, error)
                failures += 1
                if not (repeat or was_not_sent(error)) or self.closed:
                    raise
                pause = 0.0 if failures % len(self._endpoints) else wait
                if loop.time() + pause >= end:
                    raise
            if pause:
                await asyncio.sleep(pause)
                wait = min(wait * 2, BACK_OFF[1])

    async def ready(self, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        """The metadata for a call, after the endpoint's version was seen to be one we accept."""
        metadata = await self._login.metadata(endpoint)
        if not endpoint.checked:
            await self._check(endpoint, metadata)
        return metadata

    def forget_login(self, metadata: tuple[tuple[str, str], ...]) -> None:
        """The token in this metadata is no longer good; the next call logs in again."""
        self._login.forget(metadata)

    async def statuses(self) -> list[tuple[str, Wire | None]]:
        """What each endpoint says of itself; None where it does not answer."""
        return [(endpoint.url, await self._status(endpoint)) for endpoint in self._endpoints]

    async def close(self) -> None:
        """End everything under way."""
        self.closed = True
        for endpoint in self._endpoints:
            await endpoint.close()

    async def _logged_in(
        self, once: Callable[[Endpoint, tuple[tuple[str, str], ...]], Awaitable[Result]], endpoint: Endpoint
    ) -> Result:
        metadata = await self.ready(endpoint)
        try:
            return await once(endpoint, metadata)
        except TokenExpiredError:
            self.forget_login(metadata)
        try:
            return await once(endpoint, await self.ready(endpoint))
        except TokenExpiredError as error:
            raise PermissionDeniedError(f"{error}: a fresh login was refused too") from error

    async def _check(self, endpoint: Endpoint, metadata: tuple[tuple[str, str], ...]) -> None:
        try:
            status = await endpoint.unary(
                "/etcdserverpb.Maintenance/Status", messages.StatusRequest(), messages.StatusResponse, metadata
            )
        except (PermissionDeniedError, TokenExpiredError):
            endpoint.checked = True
            return
        except StoreUnavailableError as error:
            raise StoreUnavailableError(f"{error} (its version was not checked yet)") from error
        version = Version.parse(status.version)
        check(version, endpoint=endpoint.url)
        endpoint.version, endpoint.checked = version, True

    async def _status(self, endpoint: Endpoint) -> Wire | None:
        try:
            metadata = await self._login.metadata(endpoint)
            return await endpoint.unary(
                "/etcdserverpb.Maintenance/Status", messages.StatusRequest(), messages.StatusResponse, metadata
            )
        except StoreError:
            return None


def _credentials(config: EtcdConfig) -> grpc.ChannelCredentials | None:
    """TLS as configured, or None where no endpoint wants it."""
    if not any(endpoint.startswith("https://") for endpoint in config.endpoints):
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=_read("ca_file", config.ca_file),
        private_key=_read("key_file", config.key_file),
        certificate_chain=_read("cert_file", config.cert_file),
    )


def _read(setting: str, path: Path | str | None) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidEtcdConfig(f"etcd.{setting}: {error}") from error
