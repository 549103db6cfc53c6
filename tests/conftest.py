"""What every test of the tree shares."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from tests.support.etcd import etcd, etcd_config

__all__ = ["etcd", "etcd_config"]

settings.register_profile("weft", deadline=None)  # a slow machine is no failure
settings.load_profile("weft")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, the one event loop Weft runs on."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:
    """One loop for the whole session: gRPC's poller outlives a test's loop and would call into it after it was closed."""
    yield  # noqa: PT022 (a generator keeps the loop until the end; a coroutine would let it go)
