"""The leader's part of a rotation of roots: look what every host says, and take the next step when all are ready.

Each step is one guarded write of `pki/trust` (`registry/pki/rotation.py` decides it), so a leader may die at any moment
and the next one goes on. How it fails: with `StoreError`, which whoever campaigns handles; a write that somebody else came
before is looked at again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing

from policy.rollout import Ack, Fleet
from registry import keys
from registry.election import Leadership
from registry.pki import rotation, trust
from registry.pki.rotation import HostTrust, Step
from registry.pki.slots import Slots
from registry.pki.trust import TrustBundle
from registry.store import Compare, Item, Put, Store
from registry.sync import Changed, Relisted, follow

logger = logging.getLogger(__name__)

PREFIXES = (keys.PKI_TRUST, keys.ROSTER, keys.ACK)
LINGER = 3.0
"""Connections that were opened under an old certificate get so long to end after the last host has another."""
LOOK_AGAIN = 1.0


async def rotate(
    store: Store,
    leadership: Leadership,
    *,
    trust_domain: str,
    slots: Slots,
    clock: Callable[[], float] = time.time,
) -> None:
    """For ever, while leading."""
    items: dict[str, Item] = {}
    changed = asyncio.Event()

    async def keep() -> None:
        async with aclosing(follow(store, PREFIXES)) as updates:
            async for update in updates:
                match update:
                    case Relisted(listing):
                        items.clear()
                        items.update((item.key, item) for item in listing.items)
                    case Changed(batch):
                        for event in batch.events:
                            items.pop(event.key, None)
                            if event.item is not None:
                                items[event.key] = event.item
                    case _:
                        continue
                changed.set()

    async def act() -> None:
        ready_since: float | None = None
        while True:
            changed.clear()
            item = items.get(keys.PKI_TRUST)
            doing = None if item is None else where(items, trust_domain, can_sign=slots.roots, now=clock())
            if item is None or doing is None or doing.to is None:
                ready_since = None
                idle = doing is None or doing.doing == "none"
            else:
                idle, now = False, asyncio.get_running_loop().time()
                ready_since = now if ready_since is None else ready_since
                if doing.doing != "renewing" or now - ready_since >= LINGER:
                    await _write(store, leadership, item, doing.to)
                    logger.info("roots changed", extra={"step": doing.doing})
                    ready_since = None
            try:
                async with asyncio.timeout(None if idle else LOOK_AGAIN):
                    await changed.wait()
            except TimeoutError:
                slots.look()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keep())
        tasks.create_task(act())


def where(items: Mapping[str, Item], trust_domain: str, *, can_sign: tuple[str, ...], now: float) -> Step | None:
    """Where a rotation stands, from the keys below `PREFIXES`; None where the bundle cannot be read."""
    item = items.get(keys.PKI_TRUST)
    try:
        bundle = trust.decode(item.value) if item is not None else TrustBundle({})
    except trust.InvalidTrustBundle as error:
        logger.error("roots cannot be rotated", extra={"error": str(error)})
        return None
    fleet = Fleet()
    fleet.reset([one for one in items.values() if not one.key.startswith(keys.PKI_TRUST)])
    said = {host: _said(ack) for host, ack in fleet.acks.items()}
    return rotation.step(bundle, trust_domain, roster=fleet.roster, hosts=said, can_sign=can_sign, now=now)


def _said(ack: Ack) -> HostTrust:
    return HostTrust(frozenset(ack.trusts), frozenset(ack.under))


async def _write(store: Store, leadership: Leadership, seen: Item, bundle: TrustBundle) -> None:
    guards = [
        Compare(leadership.key, create_revision=leadership.create_revision),
        Compare(keys.PKI_TRUST, mod_revision=seen.mod_revision),
    ]
    await store.transact(guards, [Put(keys.PKI_TRUST, trust.encode(bundle))])
