"""Who we are to an etcd with users: a token, fetched when first needed and again when it has expired.

How it fails: `PermissionDeniedError` where name or password are wrong. An etcd whose authentication is off is used
without a token.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

from registry.etcd import messages
from registry.etcd.config import EtcdConfig
from registry.etcd.messages import Wire
from registry.store import PermissionDeniedError, StoreError

_ALWAYS = (("hasleader", "true"),)


class Caller(Protocol):
    """What can call a method: an endpoint."""

    async def unary(self, method: str, request: Wire, reply: Wire, metadata: tuple[tuple[str, str], ...]) -> Wire:
        """The answer."""
        ...


class Login:
    """The token all endpoints share; fetched by one at a time."""

    def __init__(self, config: EtcdConfig) -> None:
        self._username = config.username
        self._password_file = config.password_file
        self._metadata: tuple[tuple[str, str], ...] | None = None if config.username else _ALWAYS
        self._turn = asyncio.Lock()

    async def metadata(self, endpoint: Caller) -> tuple[tuple[str, str], ...]:
        """What every call carries: that it wants a leader, and the token."""
        async with self._turn:
            if self._metadata is None:
                self._metadata = await self._log_in(endpoint)
            return self._metadata

    def forget(self, metadata: tuple[tuple[str, str], ...]) -> None:
        """Unless somebody has fetched another since."""
        if self._username and metadata == self._metadata:
            self._metadata = None

    async def _log_in(self, endpoint: Caller) -> tuple[tuple[str, str], ...]:
        request = messages.AuthenticateRequest(name=self._username, password=self._password())
        try:
            reply = await endpoint.unary(
                "/etcdserverpb.Auth/Authenticate", request, messages.AuthenticateResponse, _ALWAYS
            )
        except StoreError as error:
            if "authentication is not enabled" in str(error):
                return _ALWAYS
            raise
        return (*_ALWAYS, ("token", str(reply.token)))

    def _password(self) -> str:
        try:
            return Path(self._password_file or "").read_text().strip()
        except OSError as error:
            raise PermissionDeniedError(f"etcd.password_file cannot be read: {error}") from error
