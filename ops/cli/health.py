"""What `weft status` knows: the mesh's keys at one revision, judged. `judge` is pure; `look` reads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policy import records
from policy.records import DocumentStatus
from policy.rollout import Ack, Fleet, Rollout
from registry import keys, layout
from registry.model import State
from registry.store import Item, Listing, Store
from registry.view import View

PREFIXES = (*Fleet.PREFIXES, keys.REGISTRY, keys.META_LAYOUT, keys.STATUS_POLICY, f"{keys.ELECT}controller/")


@dataclass(frozen=True, slots=True)
class HostHealth:
    """A row of the table. `lag` in seconds, `cert_ends` in seconds from now."""

    host: str
    policy: int
    lag: float
    engine: str
    cert_ends: float | None
    source: str
    note: str

    @property
    def well(self) -> bool:
        """Whether there is nothing to say."""
        return not self.note

    def plain(self) -> dict[str, object]:
        """As shown."""
        return {
            "name": self.host,
            "host": self.host,
            "policy": self.policy or None,
            "lag": span(self.lag),
            "engine": self.engine,
            "cert_ends": None if self.cert_ends is None else span(self.cert_ends),
            "source": self.source,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Health:
    """All of it. `services` by name to up, degraded or down; `documents` those that are not accepted, and why."""

    mesh: str
    store: str
    revision: int
    leader: str
    policy: int
    published: float | None
    last_error: str
    hosts: tuple[HostHealth, ...]
    counts: Mapping[str, int]
    services: Mapping[str, str]
    documents: tuple[tuple[str, str], ...]

    @property
    def well(self) -> bool:
        """Whether everything is."""
        return not (
            self.objections() or self.documents or self.unwell_services() or any(not host.well for host in self.hosts)
        )

    def unwell_services(self) -> list[tuple[str, str]]:
        """Those with an instance that is not up."""
        return [(name, state) for name, state in self.services.items() if state != "up"]

    def objections(self) -> list[str]:
        """What is wrong with the controllers."""
        found = []
        if not self.leader:
            found.append("no controller leads: documents wait, services known to their hosts go on: start a controller")
        if self.last_error:
            found.append(f"the leader's last error: {self.last_error}")
        return found

    def summary(self) -> list[str]:
        """Two lines."""
        ago = "" if self.published is None else f", {span(self.published)} ago"
        states = Counter(self.services.values())
        hosts = ", ".join(f"{count} {word}" for word, count in self.counts.items() if count) or "none"
        services = ", ".join(f"{states[word]} {word}" for word in ("up", "degraded", "down") if states[word]) or "none"
        return [
            f"mesh {self.mesh}   {self.store} rev {self.revision}   leader {self.leader or 'none'}   policy {self.policy}{ago}",
            f"hosts {len(self.hosts)}: {hosts}   services {len(self.services)}: {services}",
        ]

    def plain(self) -> dict[str, object]:
        """For programs."""
        return {
            "name": self.mesh,
            "well": self.well,
            "store": self.store,
            "revision": self.revision,
            "leader": self.leader or None,
            "policy": self.policy,
            "last_error": self.last_error,
            "hosts": [host.plain() for host in self.hosts],
            "services": dict(self.services),
            "documents": dict(self.documents),
        }


async def look(store: Store) -> Health:
    """Read and judge; raises `StoreUnavailableError`."""
    listing = await store.list(*PREFIXES)
    return judge(listing, store=await store.describe(), now=time.time())


def judge(listing: Listing, *, store: str, now: float) -> Health:
    """The mesh as these keys tell it."""
    fleet = Fleet()
    fleet.reset([item for item in listing.items if item.key.startswith(Fleet.PREFIXES)])
    seen = Listing(
        listing.revision, tuple(item for item in listing.items if item.key.startswith((keys.REGISTRY, keys.HOSTS)))
    )
    view = View.empty().relist(seen, now=now)
    rollout = fleet.rollout()
    controller = fleet.controller
    published = None if controller is None else max(0.0, now - controller.at)
    named = next((item.value for item in listing.items if item.key == keys.META_LAYOUT), None)
    leads = any(item.key.startswith(keys.ELECT) for item in listing.items)
    return Health(
        mesh=layout.decode(named).trust_domain if named is not None else "not founded yet",
        store=store,
        revision=listing.revision,
        leader=controller.leader if controller is not None and leads else "",
        policy=fleet.head.source_revision if fleet.head else 0,
        published=published,
        last_error=controller.last_error if controller is not None else "",
        hosts=tuple(_host(name, fleet, view, rollout, published or 0.0, now) for name in sorted(fleet.roster)),
        counts={
            "current": len(rollout.current),
            "behind": len(rollout.behind),
            "refusing": len(rollout.refusing),
            "silent": len(rollout.silent),
        },
        services={
            str(name): _together(endpoint.state for endpoint in view.endpoints(name, now=now))
            for name in view.services()
        },
        documents=tuple(_unwell_documents(listing.items)),
    )


def _host(name: str, fleet: Fleet, view: View, rollout: Rollout, since: float, now: float) -> HostHealth:
    ack = fleet.acks.get(name)
    known = view.hosts.get(name)
    note = _note(name, rollout)
    if not note and name not in fleet.hosts:
        note = "no lease: its agent is away, its engine serves on"
    return HostHealth(
        host=name,
        policy=ack.policy if ack else 0,
        lag=since if name in rollout.behind else 0.0,
        engine=known.host.versions.get("engine", "") if known else "",
        cert_ends=_first_end(ack, now),
        source="etcd" if name in fleet.hosts else "",
        note=note,
    )


def _note(name: str, rollout: Rollout) -> str:
    if name in rollout.silent:
        return "silent"
    if name in rollout.behind:
        return "behind"
    return "; ".join(f"refuses {one.section} {one.code}" for one in rollout.refusing.get(name, ()))


def _first_end(ack: Ack | None, now: float) -> float | None:
    ends = [served.not_after - now for served in ack.certificates.values()] if ack else []
    return min(ends, default=None)


def _together(states: Iterable[State]) -> str:
    found = list(states)
    up = sum(state is State.UP for state in found)
    return "down" if not up else "up" if up == len(found) else "degraded"


def _unwell_documents(items: Iterable[Item]) -> Iterable[tuple[str, str]]:
    for item in items:
        if not item.key.startswith(keys.STATUS_POLICY):
            continue
        name = item.key.removeprefix(keys.STATUS_POLICY)
        try:
            status = records.decode(DocumentStatus, item.key, item.value)
        except records.InvalidRecord as error:
            yield name, f"its status cannot be read: {error}"
            continue
        if status.state != "accepted":
            first = status.errors[0] if status.errors else None
            why = f": line {first.line}: {first.message} [{first.code}]" if first else ""
            yield name, f"{status.state}, in force: {status.in_force}{why}"


def span(seconds: float) -> str:
    """A length of time in one unit: `40s`, `61h`."""
    for unit, length in (("d", 86_400 * 4), ("h", 7_200), ("m", 120)):
        if seconds >= length:
            return f"{seconds / {'d': 86_400, 'h': 3_600, 'm': 60}[unit]:.0f}{unit}"
    return f"{seconds:.0f}s"
