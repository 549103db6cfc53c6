"""Copies of requests: they arrive, marked as copies, and whatever becomes of them the original does not feel it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from policy.compiled import Access, Forward, HeaderEdits, Mirror, Route, Rule, Service, Target
from tests.engine.application import OK, Talk, answering
from tests.engine.client import connected, get
from tests.engine.mesh import API, GUARDED, Mesh
from tests.engine.pair import one
from tests.mesh.mesh import eventually
from tests.support.strict_http import Request


def mirror(mesh: Mesh, *, percent: float = 100.0, timeout_ms: int = 15_000, **rule: object) -> None:
    """Publish api with a rule that copies to guarded."""
    action = Forward(to=(Target(str(API)),), mirror=Mirror(str(GUARDED), percent=percent))
    made = Route("api/mirrored", 0, action, timeout_ms=timeout_ms)
    mesh.services[API] = Service(routes=(replace(made, **rule),))  # type: ignore[arg-type]
    mesh.services.setdefault(GUARDED, Service())
    mesh.publish()


def opened(mesh: Mesh) -> None:
    """Guarded takes everybody."""
    mesh.services[GUARDED] = Service()


def copies(mesh: Mesh, count: int) -> list[Request]:
    """What the application that gets copies has heard, once it is so much."""
    eventually("copies arrive", lambda: len(mesh.applications["guarded-1"].requests) >= count)
    return mesh.applications["guarded-1"].requests


def outcome(mesh: Mesh, word: str) -> float:
    """How many copies ended so."""
    return mesh.metric("weft_mirrored_total", f'outcome="{word}"')


def test_a_copy_arrives_with_its_body_and_says_what_it_is(mesh: Mesh) -> None:
    opened(mesh)
    mirror(mesh, request_headers=HeaderEdits(set={"x-edited": "yes"}))
    mesh.applications["guarded-1"].script = answering(
        b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\noh", then_close=False
    )
    response = one(mesh.outbound(), get("/a?b=c", "x-own: 1", method="POST", body=b"hello"))
    assert (response.status, response.body) == (200, b"ok")
    (original,), (copy, *_) = mesh.api.requests, copies(mesh, 1)
    assert (copy.method, copy.target, copy.body) == (b"POST", b"/a?b=c", b"hello")
    for name in (b"x-own", b"x-edited", b"x-request-id", b"x-weft-caller"):
        assert copy.values(name) == original.values(name) != []
    assert (original.values(b"x-weft-mirror"), copy.values(b"x-weft-mirror")) == ([], [b"default/api"])
    chunked = get("/", "transfer-encoding: chunked", method="PUT") + b"2\r\nab\r\n0\r\n\r\n"
    assert one(mesh.outbound(), chunked).status == 200
    assert copies(mesh, 2)[1].body == b"ab"


def test_nobody_else_can_mark_a_request_as_a_copy(mesh: Mesh) -> None:
    for door in (mesh.outbound(), mesh.gateway()):
        one(door, get("/", "x-weft-mirror: default/web"))
    assert [request.values(b"x-weft-mirror") for request in mesh.api.requests] == [[], []]


def test_a_share_is_copied(mesh: Mesh) -> None:
    opened(mesh)
    mirror(mesh, percent=20.0)
    before = outcome(mesh, "answered")
    with connected(mesh.outbound()) as wire:
        for _ in range(200):
            wire.send(get())
            wire.until(1)
    eventually("copies are answered", lambda: outcome(mesh, "answered") - before >= 15)
    assert 15 <= outcome(mesh, "answered") - before <= 80
    assert len(mesh.api.requests) == 200


def test_a_copy_is_judged_like_any_call(mesh: Mesh) -> None:
    deny = Access(default="deny", rules=(Rule("nobody", "deny", callers=("*",)),))
    mesh.services[GUARDED] = Service(access=deny)
    mirror(mesh)
    assert one(mesh.outbound(), get()).status == 200
    eventually(
        "a copy is denied", lambda: mesh.metric("weft_requests_total", 'direction="inbound"', 'reason="denied"') >= 1
    )
    assert mesh.applications["guarded-1"].requests == []


def test_copies_that_nobody_takes_cost_the_original_nothing(mesh: Mesh) -> None:
    opened(mesh)
    mirror(mesh)
    release = threading.Event()

    def never(talk: Talk) -> None:
        while talk.request() is not None:
            release.wait(20)
            talk.send(OK)

    mesh.applications["guarded-1"].script = never
    before = outcome(mesh, "too_many")
    with connected(mesh.outbound()) as wire:
        began = time.monotonic()
        for _ in range(300):
            wire.send(get())
            assert wire.until(1)[0].status == 200
        assert time.monotonic() - began < 5
    # 32 are under way, and 64 or so wait.
    assert outcome(mesh, "too_many") - before >= 150
    assert len(mesh.applications["guarded-1"].requests) <= 32
    release.set()


def test_a_copy_to_nowhere_costs_the_original_nothing(mesh: Mesh) -> None:
    opened(mesh)
    mirror(mesh, timeout_ms=500)
    before = outcome(mesh, "failed")
    mesh.applications["guarded-1"].script = lambda talk: None
    assert one(mesh.outbound(), get()).status == 200
    mesh.applications["guarded-1"].die()
    assert one(mesh.outbound(), get()).status == 200
    mesh.endpoints[GUARDED] = ()
    mesh.publish()
    assert one(mesh.outbound(), get()).status == 200
    eventually("a copy fails", lambda: outcome(mesh, "failed") - before >= 1)


def test_a_body_that_is_not_kept_is_not_copied(mesh: Mesh) -> None:
    opened(mesh)
    mirror(mesh)
    before = outcome(mesh, "no_body")
    for size, status in ((64 * 1024, 200), (64 * 1024 + 1, 200)):
        assert one(mesh.outbound(), get(method="POST", body=b"a" * size)).status == status
    assert [len(request.body) for request in copies(mesh, 1)] == [64 * 1024]
    assert outcome(mesh, "no_body") - before == 1


def test_a_service_of_http2_gets_copies_too(mesh: Mesh) -> None:
    opened(mesh)
    mesh.services[GUARDED] = Service(protocol="http2")
    mirror(mesh)
    before = outcome(mesh, "answered") + outcome(mesh, "failed")
    mesh.applications["guarded-1"].script = lambda talk: (
        None
    )  # it does not speak HTTP/2: what counts is that it is asked
    assert one(mesh.outbound(), get(method="POST", body=b"hello")).status == 200
    eventually("a copy ends", lambda: outcome(mesh, "answered") + outcome(mesh, "failed") > before)
