"""What `weft status` says: which mesh, and what of it is not well. Pure, from one listing of the store.

Acks come at most once a second, so a host of a publication younger than `GRACE` may still be on its way: it settles. One that
has not acked what was published that long ago is behind, however often something is published.

Not well is: no leader, a host that is behind, refusing, silent or without a lease, a certificate that ended, a service of
which nothing is up or something is down, a document that is not in force, an error of the controller.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ops.cli.rows import Row, is_up
from policy import records
from policy.rollout import Ack, Fleet, Rollout
from registry import keys, layout
from registry.layout import Layout
from registry.model import Presence, State
from registry.names import InvalidName, ServiceName
from registry.store import Item, Listing
from registry.view import View

LEADER = "controller"
SETTLING = "settling"
GRACE = 2.0
"""Seconds."""
PREFIXES = (*Fleet.PREFIXES, keys.META_LAYOUT, keys.REGISTRY, keys.STATUS_POLICY, keys.elect(LEADER))


@dataclass(frozen=True, slots=True)
class Report:
    """`lines` are the lines that always stand; rows tell what is not well, or everything, each with `well`."""

    lines: tuple[str, ...]
    hosts: tuple[Row, ...]
    services: tuple[Row, ...]
    documents: tuple[Row, ...]
    troubles: tuple[str, ...]
    policy: int = 0
    """What is published: the revision of the policy."""
    settles: float = 0.0
    """For how long hosts that have not acked it may still be on their way, in seconds; 0: nobody is."""

    @property
    def well(self) -> bool:
        """Whether there is nothing to do."""
        rows = (*self.hosts, *self.services, *self.documents)
        return not self.troubles and all(row["well"] for row in rows)


def report(listing: Listing, *, etcd: str, now: float, had: int = 0) -> Report | None:
    """The state of the mesh at a listing of `PREFIXES`; None where there is no mesh. `now` in seconds since the epoch.

    `had`: a revision of the policy that every host had `GRACE` to ack.
    """
    values = {item.key: item.value for item in listing.items}
    if keys.META_LAYOUT not in values:
        return None
    fleet = Fleet()
    fleet.reset(listing.items)
    standing = fleet.rollout()
    view = View.empty().relist(listing, now=now)
    left = _grace(fleet, now=now)
    settling = {
        name
        for name, policy in standing.behind.items()
        if left and had <= policy and {name} <= fleet.hosts.keys() & fleet.acks.keys()
    }
    hosts = tuple(_hosts(fleet, standing, view, settling, now=now))
    services = tuple(_service(view, service, now=now) for service in view.services())
    leader = _leader(listing.items)
    mesh = layout.decode(values[keys.META_LAYOUT])
    return Report(
        (
            _mesh_line(mesh, fleet, etcd, listing.revision, leader, now=now),
            _counts(standing, fleet, settling, services),
        ),
        hosts,
        services,
        tuple(_documents(values)),
        tuple(_troubles(fleet, leader)),
        policy=fleet.head.source_revision if fleet.head else 0,
        settles=left if settling else 0.0,
    )


def _grace(fleet: Fleet, *, now: float) -> float:
    """What is left of the last publication's grace, in seconds. It was made by another clock: no grace is longer for that."""
    published = fleet.controller.at if fleet.controller else 0.0
    return max(0.0, min(GRACE, GRACE - (now - published)))


def _mesh_line(mesh: Layout, fleet: Fleet, etcd: str, revision: int, leader: str | None, *, now: float) -> str:
    head, status = fleet.head, fleet.controller
    since = f", {length(now - status.at)} ago" if status is not None and status.at else ""
    policy = f"policy {head.source_revision}{since}" if head is not None else "policy none"
    return f"mesh {mesh.trust_domain}   {etcd} rev {revision}   leader {leader or 'none'}   {policy}"


def _counts(standing: Rollout, fleet: Fleet, settling: Collection[str], services: Sequence[Row]) -> str:
    words = {
        "current": len(standing.current),
        "settling": len(settling),
        "behind": len(standing.behind) - len(settling),
        "refusing": len(standing.refusing),
        "silent": len(standing.silent),
    }
    states = [str(row["state"]) for row in services]
    return (
        f"hosts {len(fleet.roster)}: {_listed(words) or 'none has joined'}   services {len(services)}: "
        f"{_listed({word: states.count(word) for word in ('up', 'degraded', 'starting', 'down')}) or 'none registered'}"
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _hosts(fleet: Fleet, standing: Rollout, view: View, settling: Collection[str], *, now: float) -> Iterable[Row]:
    for name in sorted(fleet.roster):
        ack, known = fleet.acks.get(name), view.hosts.get(name)
        notes = _notes(name, standing, ack, live=name in fleet.hosts, settling=name in settling, now=now)
        behind = name in standing.behind or name in standing.silent
        published = fleet.controller.at if fleet.controller else 0.0
        ends = min((one.not_after for one in ack.certificates.values()), default=0.0) if ack else 0.0
        yield {
            "name": name,
            "policy": ack.policy if ack else None,
            "lag": length(now - published) if behind and published else "0s" if ack else "",
            "engine": known.host.versions.get("engine", "") if known else "",
            "cert_ends": length(ends - now) if ends else "",
            "source": "etcd",
            "note": "; ".join(notes),
            "well": all(note == SETTLING for note in notes),
        }


def _notes(name: str, standing: Rollout, ack: Ack | None, *, live: bool, settling: bool, now: float) -> list[str]:
    notes = []
    if name in standing.silent:
        notes.append("silent: neither lease nor ack")
    elif not live:
        notes.append("no lease: its agent is not there, its engine may serve")
    if name in standing.behind:
        notes.append(SETTLING if settling else "behind")
    notes += [f"refuses {one.section} {one.code}" for one in standing.refusing.get(name, ())]
    notes += ack.notes if ack is not None else ()
    ended = [identity for identity, one in (ack.certificates if ack else {}).items() if one.not_after <= now]
    return notes + [f"certificate ended: {identity}" for identity in ended]


def _service(view: View, service: ServiceName, *, now: float) -> Row:
    endpoints = view.endpoints(service, now=now)
    up = sum(is_up(one) for one in endpoints)
    down = [one for one in endpoints if one.state is State.DOWN or one.presence is Presence.SUSPECT]
    starting = any(one.state is State.STARTING for one in endpoints)
    state = ("degraded" if down else "up") if up else "starting" if starting and not down else "down"
    reasons = [f"{one.instance} {_why(view, service, one.instance, one.presence)}" for one in down]
    return {
        "name": str(service),
        "state": state,
        "up": f"{up}/{len(endpoints)}",
        "note": "; ".join(reasons),
        "well": state == "up",
    }


def _why(view: View, service: ServiceName, instance: str, presence: Presence) -> str:
    if presence is Presence.SUSPECT:
        return "is suspect: its host's lease was lost"
    record = view.instances[service][instance].instance
    return f"is down: {record.why}" if record.why else "is down"


def _documents(values: Mapping[str, bytes]) -> Iterable[Row]:
    for key, value in values.items():
        if not key.startswith(keys.STATUS_POLICY):
            continue
        try:
            name = str(keys.parse_document(keys.STATUS_POLICY, key))
            status = records.decode(records.DocumentStatus, key, value)
        except (InvalidName, records.InvalidRecord) as error:
            yield {"name": key, "state": "unreadable", "in_force": "", "note": str(error), "well": False}
            continue
        first = status.errors[0] if status.errors else None
        place = f"{first.line}:{first.column}: " if first and first.line else ""
        yield {
            "name": name,
            "state": status.state,
            "in_force": status.in_force,
            "note": f"{place}{first.message} [{first.code}]" if first else "",
            "well": status.state == "accepted",
        }


def _troubles(fleet: Fleet, leader: str | None) -> Iterable[str]:
    if leader is None:
        yield "no controller leads: documents wait until one runs"
    if fleet.controller is not None and fleet.controller.last_error:
        yield f"the controller could not publish: {fleet.controller.last_error}"


def _leader(items: Iterable[Item]) -> str | None:
    candidates = [item for item in items if item.key.startswith(keys.elect(LEADER))]
    first = min(candidates, key=lambda item: item.create_revision, default=None)
    return first.value.decode(errors="replace") if first is not None else None


def length(seconds: float) -> str:
    """A length of time for people: `40s`, `12m`, `61h`, `29d`; negative ones are `ended`."""
    if seconds < 0:
        return "ended" if seconds < -1 else "0s"
    for unit, size, most in (("s", 1, 120), ("m", 60, 120 * 60), ("h", 3600, 96 * 3600)):
        if seconds < most:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds // 86_400)}d"
