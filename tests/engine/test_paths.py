"""Paths that two readers could take for different places: refused between services, made plain at a gateway.

Only where a rule looks at the path: `guarded` allows `/public` and nothing else below `/`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from policy.compiled import Forward, Match, Prefix, Route, Service, Target
from tests.engine.client import Door, ask
from tests.engine.mesh import API, GUARD, GUARDED, Mesh

DOTS = ["/public/../secret", "/public/%2e%2e/secret", "/public/%2E./secret", "/./secret", "//secret", "/public//secret",
        "/public/.%2e/secret", "/public/..", "/public/."]  # fmt: skip
ENCODED = ["/public%2fx", "/public%2Fx", "/public%5cx", "/public/%00", "/public%2f..%2fsecret"]


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: guarded.test\r\n\r\n".encode()


def guarded(mesh: Mesh, port: str) -> Door:
    """The way to guarded."""
    doors = {
        "outbound": mesh.outbound(GUARDED),
        "gateway": mesh.gateway(),
        "inbound": mesh.inbound(GUARDED, "guarded-1"),
    }
    return doors[port]


@pytest.mark.parametrize("port", ["outbound", "inbound", "gateway"])
def test_access_looks_at_the_path(mesh: Mesh, port: str) -> None:
    door = guarded(mesh, port)
    for path, status in (("/public", 200), ("/public/x?/../y", 200), ("/", 200), ("/secret", 403), ("/publicly", 403)):
        (response,) = ask(door, request(path))
        assert (path, response.status, response.reason) == (path, status, "denied" if status == 403 else "")


@pytest.mark.parametrize("path", DOTS + ENCODED)
@pytest.mark.parametrize("port", ["outbound", "inbound"])
def test_an_ambiguous_path_is_refused_between_services(mesh: Mesh, port: str, path: str) -> None:
    responses = ask(guarded(mesh, port), request(path) + request("/public"))
    assert [(response.status, response.reason) for response in responses] == [(400, "bad_request")]
    assert mesh.applications["guarded-1"].requests == []


@pytest.mark.parametrize("path", ENCODED)
def test_an_encoded_separator_is_refused_at_a_gateway(mesh: Mesh, path: str) -> None:
    (response,) = ask(mesh.gateway(), request(path))
    assert (response.status, response.reason) == (400, "bad_request")


@pytest.mark.parametrize("path", DOTS)
def test_a_gateway_makes_paths_plain_before_anybody_judges_them(mesh: Mesh, path: str) -> None:
    (response,) = ask(mesh.gateway(), request(path))
    arrived = [request.target for request in mesh.applications["guarded-1"].requests]
    if "secret" in path and path != "/public//secret":
        assert (response.status, response.reason, arrived) == (403, "denied", [])
    else:
        assert response.status == 200
        assert arrived in ([b"/"], [b"/public/"], [b"/public/secret"])


@pytest.mark.parametrize("path", DOTS + ENCODED)
def test_a_path_that_no_rule_looks_at_arrives_as_it_is(mesh: Mesh, path: str) -> None:
    for door in (mesh.outbound(), mesh.inbound()):
        (response,) = ask(door, request(path))
        assert response.status == 200
        assert mesh.api.requests[-1].target == path.encode()


def test_a_rule_may_permit_encoded_separators(mesh: Mesh) -> None:
    to = Forward(to=(Target(str(API)),))
    route = Route("files/all", 0, to, matches=(Match(path=Prefix("/public")),), allow_encoded_slash=True)
    mesh.services[API] = Service(routes=(route,))
    mesh.publish()
    (response,) = ask(mesh.outbound(), request("/public/a%2fb"))
    assert response.status == 200
    assert mesh.api.requests[-1].target == b"/public/a%2fb"


def test_a_gateway_cannot_permit_encoded_separators_on_behalf_of_a_service_that_guards_its_paths(mesh: Mesh) -> None:
    mesh.gateway_routes = tuple(replace(route, allow_encoded_slash=True) for route in mesh.gateway_routes)
    mesh.publish()
    (response,) = ask(mesh.gateway(), request("/public/a%2fb"))
    assert (response.status, response.reason) == (400, "bad_request")
    assert mesh.applications["guarded-1"].requests == []
    own = Route("files/all", 0, Forward(to=(Target(str(GUARDED)),)), allow_encoded_slash=True)
    mesh.services[GUARDED] = replace(GUARD, routes=(own,))
    mesh.publish()
    (response,) = ask(mesh.gateway(), request("/public/a%2fb"))
    assert response.status == 200
    assert mesh.applications["guarded-1"].requests[-1].target == b"/public/a%2fb"
