"""What every test of the tree shares."""

from __future__ import annotations

import pytest

from tests.support.etcd import etcd, etcd_config

__all__ = ["etcd", "etcd_config"]


@pytest.fixture
def anyio_backend() -> str:
    """Async tests run on asyncio, the one event loop Weft runs on."""
    return "asyncio"
