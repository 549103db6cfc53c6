"""Waiting until a change is live, on both stores."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from policy import waiting
from policy.rollout import Ack, Outcome, Refused
from policy.waiting import wait
from registry import keys
from registry.store import Store
from tests.policy.leading import leading, published, put
from tests.policy.writing import text

pytestmark = pytest.mark.anyio

ROUTE = text("Route", "{service: api, rules: [{}]}")
LONG = timedelta(seconds=10)
SHORT = timedelta(seconds=0.2)


async def join(store: Store, host: str, *, alive: bool = True) -> None:
    await store.put(keys.roster(host), b"{}")
    if alive:
        await store.put(keys.host(host), b"{}")


async def test_it_is_done_when_every_host_has_acked(store: Store) -> None:
    for host in ("vm-1", "vm-2"):
        await join(store, host)
    async with leading(store):
        revision = await put(store, "route", "a", ROUTE)
        waiter = asyncio.create_task(wait(store, revision, timeout=LONG))
        await store.put(keys.ack("vm-1"), Ack(revision, 0).encode())
        await asyncio.sleep(0.05)
        assert not waiter.done()
        await store.put(keys.ack("vm-2"), Ack(revision + 3, 0).encode())
        assert (await waiter).outcome is Outcome.DONE


async def test_it_is_refused_when_everyone_answered_and_one_refuses(store: Store) -> None:
    await join(store, "vm-1")
    refused = Refused("service/shop/api", "bad_regex", "routes[0]")
    async with leading(store):
        revision = await put(store, "route", "a", ROUTE)
        await store.put(keys.ack("vm-1"), Ack(revision, 0, refused=(refused,)).encode())
        found = await wait(store, revision, timeout=LONG)
        assert found.outcome is Outcome.REFUSED
        assert found.refusing == {"vm-1": (refused,)}


async def test_when_time_is_up_it_names_who_is_missing(store: Store) -> None:
    await join(store, "behind")
    await join(store, "new")
    await join(store, "silent", alive=False)
    async with leading(store):
        revision = await put(store, "route", "a", ROUTE)
        await store.put(keys.ack("behind"), Ack(revision - 1, 0).encode())
        found = await wait(store, revision, timeout=SHORT)
        assert found.outcome is Outcome.WAITING
        assert (found.behind, found.silent) == ({"behind": revision - 1, "new": 0}, ("silent",))
        assert (await wait(store, revision, timeout=SHORT, live=True)).silent == ()


async def test_without_a_controller_nothing_is_covered(store: Store) -> None:
    revision = await store.put("policy/shop/route/a", ROUTE)
    found = await wait(store, revision, timeout=SHORT)
    assert (found.outcome, found.covered) == (Outcome.WAITING, False)


async def test_a_revision_at_which_no_document_changed_is_waited_for_by_a_barrier(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.05)
    await join(store, "vm-1")
    async with leading(store):
        head = await published(store, await put(store, "route", "a", ROUTE))
        await store.put(keys.ack("vm-1"), Ack(head.source_revision, 0).encode())
        revision = await store.put("unrelated", b"")
        started = time.monotonic()
        assert (await wait(store, revision, timeout=LONG)).outcome is Outcome.DONE
        assert time.monotonic() - started < 5
        assert (await store.list(keys.BARRIER)).items == ()
