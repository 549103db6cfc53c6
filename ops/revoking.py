"""Taking trust back: certificates by serial or by identity, and hosts with everything they hold.

Agents follow `pki/revoked/` and the roster's effect is immediate: no controller signs for a host that is not on it. How it
fails: `ConflictError` never; `IdentityRefusedError` where there is nothing of that name; `StoreError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson

from policy.rollout import Ack, InvalidAck
from registry import keys
from registry.pki.errors import IdentityRefusedError
from registry.store import Delete, Item, Operation, Put, Revision, Store

HEX = frozenset("0123456789abcdef")


async def revoke(store: Store, what: str, *, why: str, now: float) -> tuple[str, ...]:
    """Revoke a serial, or whatever hosts serve under a SPIFFE ID; the serials. Refused with `unknown_certificate`."""
    serials = {what.lower(): 0.0} if set(what.lower()) <= HEX else await _served(store, identity=what)
    if not serials:
        raise IdentityRefusedError("unknown_certificate", f"no host says that it serves a certificate of {what}")
    for one in _revocations(serials, why, now):
        await store.transact([], [one])
    return tuple(sorted(serials))


async def forget_host(store: Store, host: str, *, now: float) -> tuple[Revision, tuple[str, ...]]:
    """Off the roster, and what it serves revoked: the revision and the serials. Refused with `host_unknown`."""
    item, said = await store.get(keys.roster(host)), await store.get(keys.ack(host))
    if item is None:
        raise IdentityRefusedError("host_unknown", f"{host} is not on the roster: weft get hosts lists who is")
    serials = {} if said is None else dict(_of(said, identity=None))
    for one in _revocations(serials, f"host {host} was forgotten", now):
        await store.transact([], [one])
    done = await store.transact([], [Delete(keys.roster(host)), Delete(keys.ack(host))])
    return done.revision, tuple(sorted(serials))


async def _served(store: Store, *, identity: str) -> Mapping[str, float]:
    listing = await store.list(keys.ACK)
    return {serial: end for item in listing.items for serial, end in _of(item, identity=identity)}


def _of(item: Item, *, identity: str | None) -> Iterable[tuple[str, float]]:
    try:
        served = Ack.decode(item.value).certificates
    except InvalidAck:
        return
    for name, one in served.items():
        if identity is None or name == identity:
            yield one.serial, one.not_after


def _revocations(serials: Mapping[str, float], why: str, now: float) -> Iterable[Operation]:
    for serial, end in serials.items():
        yield Put(keys.revoked(serial), orjson.dumps({"why": why, "at": now, "ends": end}))
