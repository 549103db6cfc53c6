"""Connections: who is served again on one, in which order, and what a tunnel carries."""

from __future__ import annotations

import pytest

from tests.engine.application import OK, Talk, answering
from tests.engine.client import ask, connected, get
from tests.engine.mesh import API, GUARDED, Mesh

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


def test_an_old_client_is_answered_as_it_understands(mesh: Mesh) -> None:
    mesh.api.script = answering(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", then_close=False
    )
    old = b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.0\r\nHost: api.test\r\nConnection: keep-alive\r\n\r\n"
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        for request in old:
            with connected(door) as wire:
                wire.send(request)
                answered = wire.read_all()
            head, _, body = answered.partition(b"\r\n\r\n")
            assert body == b"ok"
            assert b"transfer-encoding" not in head.lower()
    assert mesh.api.requests[0].values(b"host") != []


def test_a_connection_goes_on_after_an_answer_that_says_no(mesh: Mesh) -> None:
    for door in (mesh.outbound(GUARDED), mesh.inbound(GUARDED, "guarded-1")):
        responses = ask(door, get("/secret") + get("/public") + get("/secret") + get("/public"))
        assert [response.status for response in responses] == [403, 200, 403, 200]


def test_a_burst_is_answered_in_its_order(mesh: Mesh) -> None:
    def script(talk: Talk) -> None:
        while (request := talk.request()) is not None:
            talk.send(HEAD % len(request.target) + request.target)

    mesh.api.script = script
    targets = [f"/{number}" for number in range(200)]
    burst = b"".join(get(target, method="POST", body=b"a" * (number % 50)) for number, target in enumerate(targets))
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        assert [response.body.decode() for response in ask(door, burst)] == targets


def test_a_connection_that_an_application_closed_while_idle_is_not_an_error(mesh: Mesh) -> None:
    mesh.api.script = answering(OK)
    with connected(mesh.outbound()) as wire:
        for _ in range(20):
            wire.send(get())
            assert wire.until(1)[0].status == 200


def test_connections_are_used_again(mesh: Mesh) -> None:
    with connected(mesh.outbound()) as wire:
        for _ in range(20):
            wire.send(get())
            assert wire.until(1)[0].status == 200
    assert mesh.api.connections == 1


@pytest.mark.parametrize("port", ["outbound", "gateway", "inbound"])
def test_a_websocket_is_a_tunnel_with_nothing_lost_at_its_start(mesh: Mesh, port: str) -> None:
    door = {"outbound": mesh.outbound(), "gateway": mesh.gateway(), "inbound": mesh.inbound()}[port]
    upgrade = get("/", "connection: upgrade", "upgrade: websocket", "sec-websocket-key: x", "sec-websocket-version: 13")

    def script(talk: Talk) -> None:
        head = talk.head().lower()
        assert b"\r\nupgrade: websocket\r\n" in head
        talk.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nfirst")
        said = talk.take()
        while talk.more():
            said += talk.take()
            talk.send(said)
            said = b""

    mesh.api.script = script
    with connected(door) as wire:
        wire.send(upgrade)
        answered = b""
        while not answered.endswith(b"first"):
            chunk = wire.read()
            assert chunk, answered
            answered += chunk
        assert answered.startswith(b"HTTP/1.1 101 ")
        wire.send(b"\x00GET / HTTP/1.1\r\n\r\n")
        echoed = b""
        while len(echoed) < 19:
            chunk = wire.read()
            assert chunk, echoed
            echoed += chunk
        assert echoed == b"\x00GET / HTTP/1.1\r\n\r\n"


def test_a_refused_websocket_is_an_answer_like_any_other(mesh: Mesh) -> None:
    upgrade = get("/", "connection: upgrade", "upgrade: websocket", "sec-websocket-key: x", "sec-websocket-version: 13")
    mesh.api.script = answering(b"HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno", then_close=False)
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        assert [response.status for response in ask(door, upgrade + get())] == [403, 403]


@pytest.mark.parametrize(
    "first", [get("/bad"), get("/bad", method="PUT", body=b"x" * 10)], ids=["without", "with a body"]
)
def test_a_failure_leaves_the_request_behind_it_as_it_is(mesh: Mesh, first: bytes) -> None:
    def script(talk: Talk) -> None:
        while (request := talk.request()) is not None:
            talk.send(b"HTTP/1.1 600 Bad\r\ncontent-length: 0\r\n\r\n" if request.target == b"/bad" else OK)

    mesh.api.script = script
    inside = get("/inside")
    with connected(mesh.outbound()) as wire:
        wire.send(first + get("/next", method="POST", body=inside) + get("/last"))
        assert [response.status for response in wire.until(3)] == [502, 200, 200]
    targets = [request.target for request in mesh.api.requests]
    assert targets[-2:] == [b"/next", b"/last"]
    assert set(targets[:-2]) == {b"/bad"}
    assert mesh.api.requests[-2].body == inside


def test_nobody_to_ask_costs_no_connection_where_the_body_came_along(mesh: Mesh) -> None:
    mesh.endpoints[API] = ()
    mesh.publish()
    asked = get(method="POST", body=b"x")
    assert [response.status for response in ask(mesh.outbound(), asked + asked, b"POST", b"POST")] == [503, 503]
