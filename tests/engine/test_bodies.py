"""Bodies, slow and vanishing peers: nothing piles up, nothing hangs, and a connection is used again only where it is clean."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.engine.application import OK, Talk
from tests.engine.client import ask, connected, exchange, get
from tests.engine.mesh import GUARDED, Mesh
from tests.support import strict_http

MIB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
GROWTH = 64 * MIB
"""How much an engine may grow while it carries much more: its buffers are bounded per connection."""


def swallow(sizes: list[int]) -> Callable[[Talk], None]:
    """An application that reads bodies with a length, keeps their sizes, and answers."""

    def script(talk: Talk) -> None:
        while head := talk.head():
            length = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))[15:])
            done = len(talk.take())
            while done < length and (chunk := talk.socket.recv(MIB)):
                done += len(chunk)
            sizes.append(done)
            talk.send(OK)

    return script


def pour(size: int) -> Callable[[Talk], None]:
    """An application that answers with so many bytes."""

    def script(talk: Talk) -> None:
        while talk.request() is not None:
            talk.send(HEAD % size)
            for _ in range(size // MIB):
                talk.send(b"a" * MIB)

    return script


def test_a_hundred_megabytes_go_up_in_bounded_memory(mesh: Mesh) -> None:
    sizes: list[int] = []
    mesh.api.script = swallow(sizes)
    before = mesh.engine.resident
    with connected(mesh.outbound()) as wire:
        wire.send(get(method="POST", body=None)[:-2] + b"content-length: %d\r\n\r\n" % (100 * MIB))
        for _ in range(100):
            wire.send(b"a" * MIB)
        assert wire.until(1)[0].status == 200
    assert sizes == [100 * MIB]
    assert mesh.engine.resident - before < GROWTH


def test_a_hundred_megabytes_come_down_to_a_reader_who_pauses_in_bounded_memory(mesh: Mesh) -> None:
    size = 100 * MIB
    stuck = threading.Event()
    sent = 0

    def script(talk: Talk) -> None:
        nonlocal sent
        if talk.request() is None:
            return
        talk.send(HEAD % size)
        talk.socket.settimeout(0.3)
        data = memoryview(b"a" * MIB)
        while sent < size:
            try:
                sent += talk.socket.send(data[: min(MIB, size - sent)])
            except TimeoutError:
                stuck.set()
                talk.socket.settimeout(10)

    mesh.api.script = script
    before = mesh.engine.resident
    with connected(mesh.outbound()) as wire:
        wire.send(get())
        received = len(wire.read())
        assert stuck.wait(10), "an application whose reader pauses can go on sending"
        assert sent < size
        assert mesh.engine.resident - before < GROWTH
        wire.finish()
        while chunk := wire.read(MIB):
            received += len(chunk)
    assert received > size
    assert mesh.engine.resident - before < GROWTH


@pytest.mark.parametrize("port", ["outbound", "gateway", "inbound"])
def test_a_request_may_come_byte_by_byte(mesh: Mesh, port: str) -> None:
    door = {"outbound": mesh.outbound(), "gateway": mesh.gateway(), "inbound": mesh.inbound()}[port]
    chunked = get(method="POST")[:-2] + b"transfer-encoding: chunked\r\n\r\n2;a\r\nab\r\n0\r\nx-sum: 1\r\n\r\n"
    with connected(door) as wire:
        for request in (get("/slow"), chunked):
            for byte in request:
                wire.send(bytes([byte]))
            assert wire.until(1)[0].status == 200
    assert [request.body for request in mesh.api.requests] == [b"", b"ab"]


def test_a_response_may_come_byte_by_byte(mesh: Mesh) -> None:
    def script(talk: Talk) -> None:
        while talk.request() is not None:
            for byte in b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n":
                talk.send(bytes([byte]))

    mesh.api.script = script
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        assert [response.body for response in ask(door, get() + get())] == [b"ok", b"ok"]


def test_a_client_may_vanish_at_every_byte(mesh: Mesh) -> None:
    request = get(method="POST", body=b"abcdef") + get()
    for door in (mesh.outbound(), mesh.inbound()):
        for cut in range(0, len(request), 7):
            with connected(door) as wire:
                wire.send(request[:cut])
        assert [response.status for response in ask(door, get("/there"))] == [200]
    assert mesh.api.requests[-1].target == b"/there"


def test_an_end_inside_a_body_cancels_and_behind_it_does_not(mesh: Mesh) -> None:
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        assert exchange(door, get(method="POST", body=b"abcdef")[:-3]) == b""
        assert mesh.api.requests == []
        assert [response.status for response in ask(door, get(method="POST", body=b"abcdef"))] == [200]
        mesh.api.requests.clear()


def test_a_client_that_leaves_while_it_waits_costs_nobody_else_anything(mesh: Mesh) -> None:
    waiting, go_on = threading.Event(), threading.Event()

    def script(talk: Talk) -> None:
        while (request := talk.request()) is not None:
            if request.target == b"/slow":
                waiting.set()
                go_on.wait(10)
            talk.send(OK)

    mesh.api.script = script
    with connected(mesh.outbound()) as wire:
        wire.send(get("/slow"))
        assert waiting.wait(10)
    assert [response.status for response in ask(mesh.outbound(), get("/quick"))] == [200]
    go_on.set()


@pytest.mark.parametrize("port", ["outbound", "gateway", "inbound"])
def test_the_application_says_whether_a_client_may_go_on(mesh: Mesh, port: str) -> None:
    door = {"outbound": mesh.outbound(), "gateway": mesh.gateway(), "inbound": mesh.inbound()}[port]

    def script(talk: Talk) -> None:
        if b"expect: 100-continue" in talk.head().lower():
            talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = talk.take()
            while len(body) < 2 and talk.more():
                body += talk.take()
            talk.send(HEAD % len(body) + body)

    mesh.api.script = script
    with connected(door) as wire:
        wire.send(get("/", "expect: 100-continue", "content-length: 2", method="PUT"))
        assert wire.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(b"ab")
        assert [response.body for response in wire.until(1)] == [b"ab"]


def test_nobody_may_go_on_who_is_refused(mesh: Mesh) -> None:
    expecting = b"PUT %s HTTP/1.1\r\nhost: guarded.test\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    for door in (mesh.outbound(GUARDED), mesh.gateway(), mesh.inbound(GUARDED, "guarded-1")):
        for path, status in ((b"/secret", 403), (b"/public%2f", 400)):
            with connected(door) as wire:
                wire.send(expecting % path)
                answered = wire.read_all()
            assert b"100 Continue" not in answered
            assert [response.status for response in strict_http.read_responses(answered)] == [status]
    assert mesh.applications["guarded-1"].requests == []


def test_an_application_may_refuse_a_body_it_has_not_read(mesh: Mesh) -> None:
    mesh.api.script = _early(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        with connected(door) as wire:
            wire.send(get("/", "content-length: 1000000", method="PUT"))
            (response,) = wire.until(1)
            assert (response.status, response.body, response.reason) == (413, b"big", "")
            _go_on(wire.send)


def test_both_directions_move_at_once(mesh: Mesh) -> None:
    def echo(talk: Talk) -> None:
        talk.head()
        talk.send(HEAD % 8)
        sent = 0
        while sent < 8 and (data := talk.take() or (talk.more() and talk.take())):
            talk.send(data)
            sent += len(data)

    mesh.api.script = echo
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        with connected(door) as wire:
            wire.send(get("/", "content-length: 8", method="PUT"))
            answered = b""
            for piece in (b"ab", b"cd", b"ef", b"gh"):
                wire.send(piece)
                while not answered.endswith(piece):
                    chunk = wire.read()
                    assert chunk, answered
                    answered += chunk
        assert strict_http.read_responses(answered)[0].body == b"abcdefgh"


def _early(answer: bytes) -> Callable[[Talk], None]:
    """An application that answers at the head, and reads the rest."""

    def script(talk: Talk) -> None:
        if talk.head():
            talk.send(answer)
            while talk.more():
                talk.take()

    return script


def _go_on(send: Callable[[bytes], None]) -> None:
    """Send more than is wanted: an end or a reset by the other side is as good as being read."""
    try:
        for _ in range(8):
            send(b"a" * 1000)
    except OSError:
        return
