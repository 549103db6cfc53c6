"""The HTTP API by which programs join a mesh and look around in it, on loopback of every host.

An application over a `Registrar`, which the agent is: this file knows HTTP and what is written over it, and decides
nothing. Every refusal is problem+json with a code, the place, what was found and expected, and how to mend it; whatever is
refused changed nothing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from registry.api_schema import openapi
from registry.model import Endpoint, Presence, State
from registry.model import Protocol as Spoken
from registry.names import DEFAULT_NAMESPACE, InvalidName, ServiceName, check_name
from registry.registration import InvalidRegistration, Problem, Registration, parse_registration

MAX_BODY = 64 * 1024
INSTANCE = "/v1/services/{service}/instances/{instance}"


class ConflictError(Exception):
    """What was asked contradicts what is there already; the problem says what."""

    code = "conflict"

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """Where a program finds an upstream, and whether anybody has registered it yet."""

    url: str
    known: bool


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registration has come to. `revision` is the registry's, 0 while only the disk has it."""

    key: str
    revision: int
    stored: Literal["etcd", "disk"]
    state: State
    why: str
    identity: str
    upstreams: Mapping[str, UpstreamAddress] = field(default_factory=dict)
    changed: bool = False
    created: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What this host knows of all services: as of a revision, from where, and for how many seconds unconfirmed."""

    revision: int
    source: str
    age: float
    services: Mapping[ServiceName, tuple[Endpoint, ...]]
    protocols: Mapping[ServiceName, Spoken]


class Registrar(Protocol):
    """What the API needs of a host."""

    async def register(self, registration: Registration) -> Registered:
        """Make it so; raises `ConflictError`."""
        ...

    async def deregister(self, service: ServiceName, instance: str) -> Registered | None:
        """End it, with a tombstone; None where there is no such instance of this host."""
        ...

    async def drain(self, service: ServiceName, instance: str) -> Registered | None:
        """Take it out of rotation; None where there is no such instance of this host."""
        ...

    def beat(self, service: ServiceName, instance: str) -> bool:
        """A program says it works; False where no ttl check of this host waits for that."""
        ...

    def instance(self, service: ServiceName, instance: str) -> Registered | None:
        """An instance of this host."""
        ...

    def known(self) -> Known:
        """Services and endpoints."""
        ...

    async def changed(self, seen: int) -> int:
        """Return when `known` may differ from what it was at `seen`, and the number to ask with next; 0 first."""
        ...

    def status(self) -> Mapping[str, object]:
        """This host, for people and for `weft status`."""
        ...

    def gauges(self) -> Mapping[str, float]:
        """Names and values for `/metrics`."""
        ...


def application(registrar: Registrar) -> Starlette:
    """The API of one host."""
    api = _Api(registrar)
    return Starlette(
        routes=[
            Route(INSTANCE, api.put, methods=["PUT"]),
            Route(INSTANCE, api.get, methods=["GET"]),
            Route(INSTANCE, api.delete, methods=["DELETE"]),
            Route(INSTANCE + "/drain", api.drain, methods=["PUT", "POST"]),
            Route(INSTANCE + "/ttl", api.beat, methods=["PUT", "POST"]),
            Route("/v1/services", api.services, methods=["GET"]),
            Route("/v1/services/{service}", api.service, methods=["GET"]),
            Route("/v1/host", api.status, methods=["GET"]),
            Route("/v1/status", api.status, methods=["GET"]),
            Route("/v1/openapi.json", api.openapi, methods=["GET"]),
            Route("/healthz", api.healthz, methods=["GET"]),
            Route("/metrics", api.metrics, methods=["GET"]),
        ],
        exception_handlers={
            InvalidRegistration: _invalid,
            ConflictError: _conflict,
            InvalidName: _bad_name,
            HTTPException: _http,
        },
    )


class _Api:
    def __init__(self, registrar: Registrar) -> None:
        self._registrar = registrar

    async def put(self, request: Request) -> Response:
        registration = parse_registration(
            await _body(request),
            service=request.path_params["service"],
            instance=request.path_params["instance"],
            namespace=request.query_params.get("namespace"),
        )
        registered = await self._registrar.register(registration)
        return _json(_registered(registered), 201 if registered.created else 200)

    async def get(self, request: Request) -> Response:
        service, instance = _named(request)
        return _found(self._registrar.instance(service, instance), service, instance)

    async def delete(self, request: Request) -> Response:
        service, instance = _named(request)
        return _found(await self._registrar.deregister(service, instance), service, instance)

    async def drain(self, request: Request) -> Response:
        service, instance = _named(request)
        return _found(await self._registrar.drain(service, instance), service, instance)

    async def beat(self, request: Request) -> Response:
        service, instance = _named(request)
        registered = self._registrar.instance(service, instance)
        if registered is not None and not self._registrar.beat(service, instance):
            fix = "register it with check: {ttl: 15s}, or leave the checking to the host"
            raise ConflictError(Problem("no_ttl_check", "check", "another kind of check", "a ttl check", fix))
        return _found(self._registrar.instance(service, instance), service, instance)

    async def services(self, request: Request) -> Response:
        namespace = request.query_params.get("namespace")
        return await self._answer(request, lambda known: _services(known, namespace))

    async def service(self, request: Request) -> Response:
        service = ServiceName(_namespace(request), request.path_params["service"])
        watched = request.query_params.get("watch") is not None
        if not watched and service not in self._registrar.known().services:
            return _problem(
                404,
                Problem("unknown_service", "service", str(service), "a registered service", "see GET /v1/services"),
            )
        return await self._answer(request, lambda known: _service(known, service))

    async def status(self, request: Request) -> Response:
        return _json(self._registrar.status())

    async def openapi(self, request: Request) -> Response:
        return _json(openapi())

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def metrics(self, request: Request) -> Response:
        lines = (f"{name} {value:g}\n" for name, value in sorted(self._registrar.gauges().items()))
        return PlainTextResponse("".join(lines), media_type="text/plain; version=0.0.4")

    async def _answer(self, request: Request, show: Callable[[Known], dict[str, object]]) -> Response:
        if request.query_params.get("watch") in (None, "0", "false"):
            return _json(show(self._registrar.known()))
        start = request.query_params.get("from", "-1")
        if not start.removeprefix("-").isdecimal():
            raise InvalidRegistration(
                Problem("invalid_value", "from", repr(start), "a revision", "use the revision of the last answer")
            )
        return StreamingResponse(self._watch(int(start), show), media_type="application/x-ndjson")

    async def _watch(self, start: int, show: Callable[[Known], dict[str, object]]) -> AsyncIterator[bytes]:
        """The whole state in one line whenever it differs from the line before; the first once it is newer than `start`."""
        seen, last = 0, None
        while True:
            seen = await self._registrar.changed(seen)
            shown = show(self._registrar.known())
            content = {name: value for name, value in shown.items() if name not in ("revision", "age")}
            revision = shown["revision"]
            if content != last and (last is not None or (isinstance(revision, int) and revision > start)):
                last = content
                yield orjson.dumps(shown) + b"\n"


def _services(known: Known, namespace: str | None) -> dict[str, object]:
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


def _service(known: Known, name: ServiceName) -> dict[str, object]:
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
        "presence": endpoint.presence.value if endpoint.presence is not Presence.GONE else "gone",
        "source": endpoint.source.value,
        "weight": endpoint.weight,
        "zone": endpoint.zone,
        "version": endpoint.version,
        "labels": dict(endpoint.labels),
    }


def _registered(registered: Registered) -> dict[str, object]:
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


def _found(registered: Registered | None, service: ServiceName, instance: str) -> Response:
    if registered is not None:
        return _json(_registered(registered))
    found = f"{service}/{instance}"
    fix = "register it first, or ask the agent of its own host"
    return _problem(404, Problem("unknown_instance", "instance", found, "an instance of this host", fix))


def _named(request: Request) -> tuple[ServiceName, str]:
    service = ServiceName(_namespace(request), request.path_params["service"])
    return service, check_name(request.path_params["instance"], what="instance")


def _namespace(request: Request) -> str:
    return request.query_params.get("namespace", DEFAULT_NAMESPACE)


async def _body(request: Request) -> object:
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY:
            raise InvalidRegistration(
                Problem("too_large", "", f"over {MAX_BODY} bytes", f"at most {MAX_BODY} bytes", "shorten the labels")
            )
    try:
        return json.loads(content, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        fix = 'send a JSON object such as {"port": 8080}'
        raise InvalidRegistration(Problem("invalid_json", "", str(error)[:200], "a JSON object", fix)) from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands there twice")
    return found


def _json(content: Mapping[str, object], status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def _problem(status: int, *problems: Problem) -> Response:
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


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidRegistration)
    return _problem(413 if error.problems[0].code == "too_large" else 400, *error.problems)


async def _conflict(request: Request, error: Exception) -> Response:
    assert isinstance(error, ConflictError)
    return _problem(409, error.problem)


async def _bad_name(request: Request, error: Exception) -> Response:
    expected = "1 to 63 lower-case letters, digits and hyphens"
    return _problem(400, Problem("invalid_name", "path", request.url.path, expected, str(error)))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "unknown_path", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    expected = "a path and method of /v1/openapi.json"
    return _problem(
        error.status_code,
        Problem(code, "", f"{request.method} {request.url.path}", expected, "see GET /v1/openapi.json"),
    )
