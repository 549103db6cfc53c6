"""Stores for policy's shells: the one in memory, and a real etcd below a root of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from registry.etcd import EtcdConfig, EtcdStore
from registry.memory import MemoryStore
from registry.store import Store
from tests.support.etcd import etcd, etcd_config

__all__ = ["etcd", "etcd_config", "store"]


@pytest.fixture(params=["memory", "etcd"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """An empty store, of either kind."""
    if request.param == "memory":
        opened: Store = MemoryStore()
    else:
        config: EtcdConfig = request.getfixturevalue("etcd_config")
        opened = await EtcdStore.connect(config)
    yield opened
    await opened.close()
