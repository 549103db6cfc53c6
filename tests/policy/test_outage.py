"""A leader outlives its store: what was in force stays, and what comes after is published."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from policy import records
from policy.records import DocumentStatus
from registry.etcd import EtcdConfig, EtcdStore
from tests.policy.leading import leading, published, put, service, status
from tests.policy.writing import text
from tests.support.etcd import etcd_cluster

pytestmark = pytest.mark.anyio


async def test_a_leader_publishes_again_after_etcd_was_killed_and_came_back(tmp_path: Path) -> None:
    with etcd_cluster(tmp_path) as [etcd]:
        store = await EtcdStore.connect(EtcdConfig(endpoints=(etcd.url,), root="/weft/"))
        async with leading(store):
            await put(store, "route", "a", text("Route", "{service: api, rules: [{}]}"))
            await asyncio.to_thread(etcd.kill)
            await asyncio.to_thread(etcd.restart)
            await asyncio.to_thread(etcd.ctl, "put", "/weft/policy/shop/traffic/b", "rubbish: [")
            assert (await status(store, "shop/traffic/b")).state == "rejected"
            revision = await put(store, "traffic", "b", text("Traffic", "{service: web, timeout: 3s}"))
            await published(store, revision)
            assert await service(store) is not None
            item = await store.get("status/policy/shop/traffic/b")
            assert item is not None
            assert records.decode(DocumentStatus, item.key, item.value).state == "accepted"
        await store.close()
