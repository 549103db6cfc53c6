"""The HTTP API by which programs join a mesh and look around in it, on loopback of every host.

An application over a `Registrar`, which the agent is: this file knows HTTP and what is written over it, and decides
nothing. Every refusal is problem+json with a code, the place, what was found and expected, and how to mend it; whatever is
refused changed nothing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from registry import api_answers
from registry.api_schema import openapi
from registry.names import DEFAULT_NAMESPACE, InvalidName, ServiceName, check_name
from registry.registrar import ConflictError, Known, Registered, Registrar
from registry.registration import InvalidRegistration, Problem, parse_registration

MAX_BODY = 64 * 1024
INSTANCE = "/v1/services/{service}/instances/{instance}"


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
        return api_answers.json(api_answers.registered(registered), 201 if registered.created else 200)

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
        return await self._answer(request, lambda known: api_answers.services(known, namespace))

    async def service(self, request: Request) -> Response:
        service = ServiceName(_namespace(request), request.path_params["service"])
        watched = request.query_params.get("watch") is not None
        if not watched and service not in self._registrar.known().services:
            return api_answers.problem(
                404,
                Problem("unknown_service", "service", str(service), "a registered service", "see GET /v1/services"),
            )
        return await self._answer(request, lambda known: api_answers.service(known, service))

    async def status(self, request: Request) -> Response:
        return api_answers.json(self._registrar.status())

    async def openapi(self, request: Request) -> Response:
        return api_answers.json(openapi())

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def metrics(self, request: Request) -> Response:
        lines = (f"{name} {value:g}\n" for name, value in sorted(self._registrar.gauges().items()))
        return PlainTextResponse("".join(lines), media_type="text/plain; version=0.0.4")

    async def _answer(self, request: Request, show: Callable[[Known], dict[str, object]]) -> Response:
        if request.query_params.get("watch") in (None, "0", "false"):
            return api_answers.json(show(self._registrar.known()))
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


def _found(registered: Registered | None, service: ServiceName, instance: str) -> Response:
    if registered is not None:
        return api_answers.json(api_answers.registered(registered))
    found = f"{service}/{instance}"
    fix = "register it first, or ask the agent of its own host"
    return api_answers.problem(404, Problem("unknown_instance", "instance", found, "an instance of this host", fix))


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


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidRegistration)
    return api_answers.problem(413 if error.problems[0].code == "too_large" else 400, *error.problems)


async def _conflict(request: Request, error: Exception) -> Response:
    assert isinstance(error, ConflictError)
    return api_answers.problem(409, error.problem)


async def _bad_name(request: Request, error: Exception) -> Response:
    expected = "1 to 63 lower-case letters, digits and hyphens"
    return api_answers.problem(400, Problem("invalid_name", "path", request.url.path, expected, str(error)))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "unknown_path", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    expected = "a path and method of /v1/openapi.json"
    return api_answers.problem(
        error.status_code,
        Problem(code, "", f"{request.method} {request.url.path}", expected, "see GET /v1/openapi.json"),
    )
