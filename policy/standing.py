"""How the mesh stands: what `weft status` says, and the rollout the leader keeps in `status/rollout`.

`standing` is pure, from one listing of `PREFIXES`; `report_rollout` is the leader's task that keeps the count.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

from policy import records
from policy.records import RolloutStatus
from policy.rollout import Ack, Fleet, Rollout
from registry import keys, layout
from registry.election import Leadership
from registry.model import Host, Instance, State
from registry.names import ServiceName
from registry.records import InvalidRecord, decode_host, decode_instance
from registry.store import Compare, Listing, Put, Store, StoreError
from registry.sync import Changed, Relisted, follow

logger = logging.getLogger(__name__)

PREFIXES = (*Fleet.PREFIXES, keys.REGISTRY, keys.META_LAYOUT)
MAX_NAMES = 100
REPORT_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class HostRow:
    """One host: what it serves, for how long it has been behind (seconds), when its first certificate ends (epoch)."""

    host: str
    policy: int
    lag: float
    engine: str
    certificate_ends: float | None
    source: str
    note: str

    @property
    def well(self) -> bool:
        """Whether there is nothing to say about it."""
        return not self.note


@dataclass(frozen=True, slots=True)
class Standing:
    """The mesh at one revision of the store. `published_at` is the epoch of the last publication, None before the first."""

    mesh: str
    revision: int
    leader: str
    policy: int
    published_at: float | None
    last_error: str
    hosts: tuple[HostRow, ...]
    services: Mapping[ServiceName, str]
    """Each service: `up`, `degraded` (some of its instances are up) or `down`."""

    @property
    def well(self) -> bool:
        """Whether nothing asks for attention."""
        return (
            bool(self.leader)
            and not self.last_error
            and all(row.well for row in self.hosts)
            and all(state == "up" for state in self.services.values())
        )


def standing(listing: Listing, *, now: float) -> Standing:
    """From a listing of `PREFIXES` and the present epoch."""
    fleet = Fleet()
    fleet.reset([item for item in listing.items if item.key.startswith(Fleet.PREFIXES)])
    hosts = _hosts(fleet.hosts)
    found = fleet.rollout()
    controller = fleet.controller
    published = controller.at if controller else None
    return Standing(
        mesh=_mesh(listing),
        revision=listing.revision,
        leader=controller.leader if controller else "",
        policy=found.revision,
        published_at=published,
        last_error=controller.last_error if controller else "",
        hosts=tuple(
            _row(
                name, found, fleet.acks.get(name), hosts.get(name), late=max(0.0, now - published) if published else 0.0
            )
            for name in sorted(fleet.roster)
        ),
        services=_services(listing),
    )


def _row(name: str, found: Rollout, ack: Ack | None, host: Host | None, *, late: float) -> HostRow:
    behind = name in found.behind
    ends = [served.not_after for served in ack.certificates.values()] if ack else []
    return HostRow(
        host=name,
        policy=ack.policy if ack else 0,
        lag=late if behind else 0.0,
        engine=host.versions.get("engine", "") if host else "",
        certificate_ends=min(ends, default=None),
        source="etcd" if host else "",
        note=_note(name, found),
    )


def _note(name: str, found: Rollout) -> str:
    if name in found.silent:
        return "silent"
    if name in found.behind:
        return "behind"
    return ", ".join(f"refuses {one.section} {one.code}" for one in found.refusing.get(name, ()))


def _mesh(listing: Listing) -> str:
    for item in listing.items:
        if item.key == keys.META_LAYOUT:
            try:
                return layout.decode(item.value).trust_domain
            except layout.InvalidLayout as error:
                logger.warning("the mesh's layout cannot be read", extra={"error": str(error)})
    return ""


def _hosts(values: Mapping[str, bytes]) -> dict[str, Host]:
    found = {}
    for name, value in values.items():
        try:
            found[name] = decode_host(keys.host(name), value)
        except InvalidRecord as error:
            logger.warning("a host cannot be read", extra={"host": name, "error": str(error)})
    return found


def _services(listing: Listing) -> dict[ServiceName, str]:
    states: dict[ServiceName, list[bool]] = defaultdict(list)
    for item in listing.items:
        if not item.key.startswith(keys.REGISTRY):
            continue
        try:
            record = decode_instance(item.key, item.value)
        except InvalidRecord as error:
            logger.warning("a registration cannot be read", extra={"key": item.key, "error": str(error)})
            continue
        if isinstance(record, Instance) and record.state is not State.DRAIN:
            states[record.service].append(record.state is State.UP)
    return {service: "up" if all(up) else "degraded" if any(up) else "down" for service, up in sorted(states.items())}


async def report_rollout(store: Store, leadership: Leadership) -> None:
    """Keep `status/rollout` for as long as this is awaited: at most once a second, and only when it changed."""
    fleet = Fleet()
    told: bytes | None = None
    changed = asyncio.Event()

    async def watch() -> None:
        async with aclosing(follow(store, Fleet.PREFIXES)) as updates:
            async for update in updates:
                if isinstance(update, Relisted):
                    fleet.reset(update.listing.items)
                elif isinstance(update, Changed):
                    for event in update.batch.events:
                        fleet.take(event.key, event.item.value if event.item else None)
                changed.set()

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        while True:
            await changed.wait()
            changed.clear()
            value = records.encode(rollout_status(fleet.rollout()))
            if value != told:
                guard = Compare(leadership.key, create_revision=leadership.create_revision)
                try:
                    if (await store.transact([guard], [Put(keys.STATUS_ROLLOUT, value)])).applied:
                        told = value
                except StoreError as error:
                    logger.debug("the rollout is reported later", extra={"error": str(error)})
                    changed.set()
            await asyncio.sleep(REPORT_EVERY)


def rollout_status(found: Rollout) -> RolloutStatus:
    """As stored."""
    return RolloutStatus(
        revision=found.revision,
        roster=len(found.current) + len(found.behind) + len(found.refusing) + len(found.silent),
        acked=len(found.current) + len(found.refusing),
        refusing=tuple(found.refusing)[:MAX_NAMES],
        behind=tuple(found.behind)[:MAX_NAMES],
        silent=found.silent[:MAX_NAMES],
    )
