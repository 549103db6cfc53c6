"""A leader that publishes while a test runs, and waiting for what it writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

from policy import compiled, records
from policy.publish import publish
from policy.records import ControllerStatus, DocumentStatus
from registry import keys
from registry.election import Leadership, campaign
from registry.store import Item, Revision, Store
from registry.sync import follow

TIMEOUT = 10.0


@asynccontextmanager
async def leading(
    store: Store, *, leader: str = "ctl-1", clock: Callable[[], float] = lambda: 1.0
) -> AsyncIterator[Leadership]:
    """Lead, and publish."""
    async with campaign(store, "compiler", leader, ttl=timedelta(seconds=30)) as leadership:
        task = asyncio.create_task(publish(store, leadership, leader=leader, clock=clock))
        try:
            yield leadership
        finally:
            leadership.lost.set()
            await task


async def until(store: Store, key: str, holds: Callable[[Item | None], bool]) -> Item | None:
    """The item of `key` once `holds` of it; raises TimeoutError after ten seconds."""
    async with asyncio.timeout(TIMEOUT), aclosing(follow(store, [key])) as updates:
        async for _ in updates:
            item = await store.get(key)
            if holds(item):
                return item
    raise AssertionError("a follower does not end")


async def published(store: Store, revision: int) -> compiled.Head:
    """Head, once it covers `revision`."""

    def covers(item: Item | None) -> bool:
        return item is not None and compiled.decode(compiled.Head, item.value)[0].source_revision >= revision

    item = await until(store, keys.COMPILED_HEAD, covers)
    assert item is not None
    return compiled.decode(compiled.Head, item.value)[0]


async def put(store: Store, kind: str, name: str, document: bytes, *, namespace: str = "shop") -> Revision:
    """What `etcdctl put` does, and waiting until it is published."""
    revision = await store.put(f"policy/{namespace}/{kind}/{name}", document)
    await published(store, revision)
    return revision


async def status(store: Store, document: str, *, prefix: str = keys.STATUS_POLICY) -> DocumentStatus:
    """What is said of `<ns>/<kind>/<name>`, once something is."""
    item = await until(store, prefix + document, lambda item: item is not None)
    assert item is not None
    return records.decode(DocumentStatus, item.key, item.value)


async def controller(store: Store, holds: Callable[[ControllerStatus], bool]) -> ControllerStatus:
    """`status/controller`, once `holds` of it."""

    def fits(item: Item | None) -> bool:
        return item is not None and holds(records.decode(ControllerStatus, item.key, item.value))

    item = await until(store, keys.STATUS_CONTROLLER, fits)
    assert item is not None
    return records.decode(ControllerStatus, item.key, item.value)


async def service(store: Store, name: str = "shop/api") -> compiled.Service | None:
    """What is compiled for a service, now."""
    item = await store.get(keys.COMPILED_SERVICE + name)
    return None if item is None else compiled.decode(compiled.Service, item.value)[0]
