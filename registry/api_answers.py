"""What the registration API answers, as JSON and as problem+json."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.responses import Response

from registry.model import Endpoint, State
from registry.model import Protocol as Spoken
from registry.names import ServiceName
from registry.registrar import Known, Registered
from registry.registration import Problem


def services(known: Known, namespace: str | None) -> dict[str, object]:
    """One row for each service."""
    rows = [
        {
            "service": name.name,
            "namespace": name.namespace,
            "protocol": known.protocols.get(name, Spoken.HTTP).value,
            "state": _together(endpoints),
            "instances": len(endpoints),
            "up": sum(endpoint.state is State.UP for endpoint in endpoints),
        }
        for name, endpoints in sorted(known.services.items())
        if namespace in (None, name.namespace)
    ]
    return {"revision": known.revision, "source": known.source, "age": known.age, "services": rows}


def service(known: Known, name: ServiceName) -> dict[str, object]:
    """One service with its instances."""
    endpoints = known.services.get(name, ())
    return {
        "service": name.name,
        "namespace": name.namespace,
        "protocol": known.protocols.get(name, Spoken.HTTP).value,
        "state": _together(endpoints),
        "revision": known.revision,
        "source": known.source,
        "age": known.age,
        "instances": [_endpoint(endpoint) for endpoint in sorted(endpoints, key=lambda one: (one.host, one.instance))],
    }


def _together(endpoints: tuple[Endpoint, ...]) -> str:
    up = sum(endpoint.state is State.UP for endpoint in endpoints)
    return "down" if up == 0 else "up" if up == len(endpoints) else "degraded"


def _endpoint(endpoint: Endpoint) -> dict[str, object]:
    return {
        "id": endpoint.instance,
        "host": endpoint.host,
        "address": endpoint.address,
        "port": endpoint.port,
        "state": endpoint.state.value,
        "presence": endpoint.presence.value,
        "source": endpoint.source.value,
        "weight": endpoint.weight,
        "zone": endpoint.zone,
        "version": endpoint.version,
        "labels": dict(endpoint.labels),
    }


def registered(registered: Registered) -> dict[str, object]:
    """What a registration has come to."""
    return {
        "key": registered.key,
        "revision": registered.revision,
        "stored": registered.stored,
        "state": registered.state.value,
        "why": registered.why,
        "identity": registered.identity,
        "upstreams": {
            name: {"url": upstream.url, "known": upstream.known} for name, upstream in registered.upstreams.items()
        },
        "changed": registered.changed,
    }


def json(content: Mapping[str, object], status: int = 200) -> Response:
    """An answer."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def problem(status: int, *problems: Problem) -> Response:
    """A refusal, RFC 9457: the first problem at the top, all of them in `errors`."""
    first = problems[0]
    content = {
        "type": f"urn:weft:problem:{first.code}",
        "title": f"{first.path or 'the request'}: expected {first.expected}, found {first.found}",
        "status": status,
        **_plain(first),
        "errors": [_plain(problem) for problem in problems],
    }
    return Response(orjson.dumps(content), status, media_type="application/problem+json")


def _plain(problem: Problem) -> dict[str, str]:
    return {
        "code": problem.code,
        "path": problem.path,
        "found": problem.found,
        "expected": problem.expected,
        "fix": problem.fix,
    }
