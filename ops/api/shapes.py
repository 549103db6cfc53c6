"""How values look in the JSON of the operator API: one function for each, nothing decided here."""

from __future__ import annotations

from dataclasses import asdict

from policy.apply import Applied, Found
from policy.rollout import Fleet, Refused, Rollout
from registry.model import Endpoint, Presence, State
from registry.pki.members import Members
from registry.view import View

Json = dict[str, object]


def mesh(members: Members, *, host: str) -> Json:
    """Which mesh, and which controller says so."""
    layout = members.layout
    named = (
        {"id": layout.mesh_id, "trust_domain": layout.trust_domain, "datacenter": layout.datacenter} if layout else None
    )
    return {"mesh": named, "controller": host}


def fleet(found: Fleet) -> Json:
    """Who leads, what is published, and where each host stands."""
    status = found.controller
    standing = found.rollout()
    return {
        "leader": status.leader if status else None,
        "policy": {
            "revision": found.head.source_revision if found.head else 0,
            "seen": status.seen if status else 0,
            "counts": dict(status.counts) if status else {},
            "last_error": status.last_error if status else "",
            "at": status.at if status else 0.0,
        },
        "rollout": rollout(standing),
        "hosts": [_host(found, name, standing) for name in sorted(found.roster)],
    }


def rollout(found: Rollout) -> Json:
    """Who serves a revision; `outcome` is done, refused or waiting."""
    return {
        "outcome": {"DONE": "done", "REFUSED": "refused", "WAITING": "waiting"}[found.outcome.name],
        "revision": found.revision,
        "covered": found.covered,
        "current": list(found.current),
        "behind": dict(found.behind),
        "refusing": {host: [_refused(one) for one in refused] for host, refused in found.refusing.items()},
        "silent": list(found.silent),
    }


def applied(done: Applied) -> Json:
    """What became of each document."""
    return {
        "revision": done.revision,
        "results": [
            {"namespace": key.namespace, "kind": key.kind, "name": key.name, "result": result}
            for key, result in done.results
        ],
    }


def document(found: Found) -> Json:
    """A stored document with its status."""
    return {
        "namespace": found.key.namespace,
        "kind": found.key.kind,
        "name": found.key.name,
        "created_revision": found.created,
        "revision": found.modified,
        "document": found.document.decode("utf-8", "replace"),
        "status": asdict(found.status) if found.status is not None else None,
    }


def service_counts(view: View, *, now: float) -> Json:
    """How many services there are, and in how many at least one instance is up."""
    names = list(view.services())
    up = [name for name in names if any(_is_up(one) for one in view.endpoints(name, now=now))]
    return {"total": len(names), "up": len(up), "down": [str(name) for name in names if name not in set(up)]}


def services(view: View, *, now: float) -> list[Json]:
    """Every service with its instances."""
    return [
        {
            "namespace": name.namespace,
            "service": name.name,
            "protocol": info.protocol.value,
            "instances": [_endpoint(one) for one in view.endpoints(name, now=now)],
        }
        for name, info in view.services().items()
    ]


def _host(found: Fleet, name: str, standing: Rollout) -> Json:
    ack = found.acks.get(name)
    state = "current"
    for word in ("behind", "refusing", "silent"):
        if name in getattr(standing, word):
            state = word
    return {
        "host": name,
        "state": state,
        "live": name in found.hosts,
        "policy": ack.policy if ack else 0,
        "registry": ack.registry if ack else 0,
        "refused": [_refused(one) for one in ack.refused] if ack else [],
        "certificates": {
            identity: {"serial": served.serial, "not_after": served.not_after}
            for identity, served in (ack.certificates.items() if ack else ())
        },
    }


def _refused(one: Refused) -> Json:
    return {"section": one.section, "code": one.code, "path": one.path}


def _is_up(endpoint: Endpoint) -> bool:
    return endpoint.state is State.UP and endpoint.presence is not Presence.GONE


def _endpoint(one: Endpoint) -> Json:
    return {
        "instance": one.instance,
        "host": one.host,
        "address": one.address,
        "port": one.port,
        "state": one.state.value,
        "presence": one.presence.value,
        "source": one.source.value,
        "version": one.version,
        "labels": dict(one.labels),
        "weight": one.weight,
        "zone": one.zone,
    }
