"""What listings say, as rows: pure, from what the store holds. Each row has `name`; JSON and YAML carry every field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ops.cli.output import Column
from registry.model import Endpoint, Presence, State
from registry.names import ServiceName
from registry.view import View

if TYPE_CHECKING:
    from policy.apply import Found
    from policy.rollout import Ack, Fleet

Row = dict[str, object]

COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "services": (
        Column("name", "SERVICE"),
        Column("namespace", "NAMESPACE"),
        Column("protocol", "PROTOCOL"),
        Column("up", "UP"),
        Column("instances", "INSTANCES"),
        Column("versions", "VERSIONS"),
        Column("hosts", "HOSTS", wide=True),
    ),
    "instances": (
        Column("name", "INSTANCE"),
        Column("service", "SERVICE"),
        Column("namespace", "NAMESPACE"),
        Column("state", "STATE"),
        Column("presence", "PRESENCE"),
        Column("version", "VERSION"),
        Column("host", "HOST"),
        Column("source", "SOURCE"),
        Column("why", "WHY"),
        Column("since", "SINCE", wide=True),
        Column("address", "ADDRESS", wide=True),
        Column("port", "PORT", wide=True),
        Column("weight", "WEIGHT", wide=True),
        Column("labels", "LABELS", wide=True),
    ),
    "hosts": (
        Column("name", "HOST"),
        Column("state", "STATE"),
        Column("live", "LIVE"),
        Column("policy", "POLICY"),
        Column("zone", "ZONE"),
        Column("versions", "VERSIONS"),
        Column("addresses", "ADDRESSES", wide=True),
        Column("labels", "LABELS", wide=True),
        Column("refuses", "REFUSES", wide=True),
    ),
    "certificates": (
        Column("name", "IDENTITY"),
        Column("host", "HOST"),
        Column("ends", "ENDS"),
        Column("serial", "SERIAL", wide=True),
    ),
    "documents": (
        Column("name", "DOCUMENT"),
        Column("namespace", "NAMESPACE"),
        Column("state", "STATE"),
        Column("in_force", "IN FORCE"),
        Column("revision", "REVISION"),
        Column("says", "SAYS"),
        Column("applies_to", "APPLIES TO", wide=True),
        Column("created_revision", "CREATED", wide=True),
    ),
}


def services(view: View, *, now: float) -> list[Row]:
    """Every service: what it speaks and how many of its instances are up."""
    found: list[Row] = []
    for service, info in view.services().items():
        endpoints = view.endpoints(service, now=now)
        if endpoints:
            found.append(
                {
                    "name": service.name,
                    "namespace": service.namespace,
                    "protocol": info.protocol.value,
                    "up": sum(is_up(one) for one in endpoints),
                    "instances": len(endpoints),
                    "versions": sorted({one.version for one in endpoints if one.version}),
                    "hosts": sorted({one.host for one in endpoints}),
                }
            )
    return found


def instances(view: View, *, now: float) -> list[Row]:
    """Every instance that is not gone, with its host's word and what a reader makes of it."""
    return [
        _instance(view, service, endpoint)
        for service in view.services()
        for endpoint in view.endpoints(service, now=now)
    ]


def _instance(view: View, service: ServiceName, endpoint: Endpoint) -> Row:
    record = view.instances[service][endpoint.instance].instance
    return {
        "name": endpoint.instance,
        "service": service.name,
        "namespace": service.namespace,
        "state": endpoint.state.value,
        "presence": endpoint.presence.value,
        "version": endpoint.version,
        "host": endpoint.host,
        "source": endpoint.source.value,
        "why": record.why,
        "since": moment(record.since),
        "address": endpoint.address,
        "port": endpoint.port,
        "weight": endpoint.weight,
        "labels": dict(endpoint.labels),
        "zone": endpoint.zone,
    }


def is_up(endpoint: Endpoint) -> bool:
    """Whether callers are meant to use it."""
    return endpoint.state is State.UP and endpoint.presence is not Presence.GONE


def hosts(fleet: Fleet, view: View, labels: Mapping[str, Mapping[str, str]]) -> list[Row]:
    """Every host of the roster or with a lease: where it stands on policy, and what it runs."""
    standing = fleet.rollout()
    states = {
        **dict.fromkeys(standing.current, "current"),
        **dict.fromkeys(standing.behind, "behind"),
        **dict.fromkeys(standing.refusing, "refusing"),
        **dict.fromkeys(standing.silent, "silent"),
    }
    found: list[Row] = []
    for name in sorted(fleet.roster | fleet.hosts.keys()):
        ack, known = fleet.acks.get(name), view.hosts.get(name)
        found.append(
            {
                "name": name,
                "state": states.get(name, "not in the roster"),
                "live": "yes" if name in fleet.hosts else "no",
                "policy": ack.policy if ack else None,
                "zone": known.host.zone if known else "",
                "versions": dict(known.host.versions) if known else {},
                "addresses": list(known.host.addresses) if known else [],
                "labels": dict(labels.get(name, {})),
                "refuses": [f"{one.section} {one.code}" for one in ack.refused] if ack else [],
            }
        )
    return found


def certificates(acks: Mapping[str, Ack]) -> list[Row]:
    """Every certificate that an engine serves, the next to end first."""
    served = [
        (one.not_after, identity, host, one.serial)
        for host, ack in acks.items()
        for identity, one in ack.certificates.items()
    ]
    return [
        {"name": identity, "host": host, "ends": moment(end), "serial": serial}
        for end, identity, host, serial in sorted(served)
    ]


def documents(found: Iterable[Found]) -> list[Row]:
    """Every document with what the controller says of it."""
    rows: list[Row] = []
    for one in found:
        status = one.status if one.status is not None and one.status.revision == one.modified else None
        problems = (*status.errors, *status.notes) if status else ()
        rows.append(
            {
                "name": f"{one.key.kind}/{one.key.name}",
                "namespace": one.key.namespace,
                "state": status.state if status else "waiting",
                "in_force": status.in_force if status else "",
                "revision": one.modified,
                "says": f"{problems[0].message} [{problems[0].code}]" if problems else _says(one),
                "applies_to": list(status.applies_to) if status else [],
                "created_revision": one.created,
                "errors": [asdict(problem) for problem in status.errors] if status else [],
                "notes": [asdict(problem) for problem in status.notes] if status else [],
                "document": one.document.decode("utf-8", errors="replace"),
            }
        )
    return rows


def _says(one: Found) -> str:
    """What is worth telling of a document that is well: when a fault ends."""
    if one.key.kind != "fault":
        return ""
    from policy.documents import Document, parse
    from policy.documents.faults import FaultSpec

    document = parse(one.key, one.document)
    if isinstance(document, Document) and isinstance(document.spec, FaultSpec):
        return f"until {moment(document.spec.until / 1_000)}"
    return ""


def moment(epoch: float) -> str:
    """Seconds since the epoch as RFC 3339, or empty for none."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if epoch else ""
