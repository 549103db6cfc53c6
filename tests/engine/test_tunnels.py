"""Connections whose bytes are only carried are told of like requests: in the access log, to taps, and as spans."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from policy.compiled import Access, Rule, Service
from proxy.tap import Filter, tap
from tests.engine import test_access_log as log
from tests.engine.application import Talk
from tests.engine.client import connected, get
from tests.engine.edge import NAME, serving
from tests.engine.mesh import API, GUARDED, WEB, Mesh, running
from tests.engine.test_spans import attributes, collecting

WITHIN = 10.0


def heard(mesh: Mesh, call: Callable[[], None], until: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """What a tap tells while `call` happens, as far as it is enough."""
    found: list[dict[str, Any]] = []

    async def listen() -> None:
        async with asyncio.timeout(WITHIN), tap(mesh.engine.socket, Filter()) as records:
            calling = asyncio.create_task(asyncio.to_thread(call))
            while not until(found):
                found.append(json.loads((await anext(records)).record))
            await calling

    asyncio.run(listen())
    return found


def ended(count: int) -> Callable[[list[dict[str, Any]]], bool]:
    """Whether so many connections were told to be over."""
    return lambda found: len([one for one in found if one.get("end") != "open"]) >= count


def echo(talk: Talk) -> None:
    """Greet, then say everything again."""
    talk.send(b"hello\n")
    while talk.more():
        talk.send(talk.take())


def serve(mesh: Mesh, access: Access | None = None) -> None:
    """Publish api as bytes."""
    mesh.api.script = echo
    mesh.services[API] = Service(protocol="tcp", access=access or Access())
    mesh.publish()


def connect(mesh: Mesh) -> socket.socket:
    """Web's connection."""
    return socket.create_connection(("127.0.0.1", mesh.outbound().port), timeout=WITHIN)


def converse(mesh: Mesh) -> None:
    """Four bytes there, ten back, and an end in order."""
    with connect(mesh) as connection:
        said = connection.recv(6, socket.MSG_WAITALL)
        connection.sendall(b"ping")
        assert said + connection.recv(4, socket.MSG_WAITALL) == b"hello\nping"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_a_connection_is_told_when_it_begins_and_when_it_ends(mesh: Mesh) -> None:
    serve(mesh)
    found = heard(mesh, lambda: converse(mesh), ended(2))
    assert [one["end"] for one in found].count("open") == 2
    for direction in ("outbound", "inbound"):
        begun, over = [one for one in found if one["direction"] == direction]
        assert (begun["end"], over["end"]) == ("open", "done")
        assert "duration_ms" not in begun
        assert begun["span_id"] == over["span_id"]
        assert (over["sent"], over["received"], over["tries"]) == (4, 10, 1)
        assert (over["source"], over["destination"], over["instance"]) == (str(WEB), str(API), "api-1")
        assert over["duration_ms"] >= 0
        assert over["client"] == "127.0.0.1"
        assert over.get("tls", "") == ("" if direction == "outbound" else "1.3")
        assert not {"code", "reason", "method", "path"} & over.keys()


def test_a_connection_that_is_refused_is_a_failure_with_its_reason(mesh: Mesh) -> None:
    serve(mesh, Access(rules=(Rule("doc/1", "allow", callers=("default/other",)),)))
    with connect(mesh) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    (inbound,) = log.soon(mesh, 1, direction="inbound", end="refused")
    (outbound,) = log.soon(mesh, 1, direction="outbound", end="refused")
    assert inbound["reason"] == outbound["reason"] == "denied"
    assert "may not call" in inbound["detail"]
    assert [one["instance"] for one in outbound["failed"]] == ["api-1"]


def test_a_service_that_breaks_off_failed_and_a_client_that_does_did_not(mesh: Mesh) -> None:
    def break_off(talk: Talk) -> None:
        talk.send(b"hello\n")
        talk.more()
        talk.reset()
        talk.socket.close()

    serve(mesh)
    mesh.api.script = break_off
    with connect(mesh) as connection:
        assert connection.recv(6, socket.MSG_WAITALL) == b"hello\n"
        connection.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    (inbound,) = log.soon(mesh, 1, direction="inbound", end="broken")
    assert (inbound["reason"], inbound["sent"], inbound["received"]) == ("reset", 1, 6)
    assert "service's side" in inbound["detail"]

    serve(mesh)

    def leave() -> None:
        with connect(mesh) as connection:
            assert connection.recv(6, socket.MSG_WAITALL) == b"hello\n"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    found = heard(mesh, leave, ended(1))
    (over,) = [one for one in found if one["end"] != "open" and one["direction"] == "outbound"]
    assert (over["end"], over.get("reason")) == ("broken", None)
    assert "caller's side" in over["detail"]


def test_losing_a_right_ends_a_connection_as_denied(mesh: Mesh) -> None:
    serve(mesh)
    with connect(mesh) as connection:
        assert connection.recv(6, socket.MSG_WAITALL) == b"hello\n"
        serve(mesh, Access(rules=(Rule("doc/1", "allow", callers=("default/other",)),)))
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    (found,) = log.soon(mesh, 1, direction="inbound", end="revoked")
    assert found["reason"] == "denied"


def test_tls_that_is_passed_on_is_told_with_its_server_name_and_rule(mesh: Mesh, tmp_path: Path) -> None:
    with serving(mesh, tmp_path) as edge:
        found = heard(mesh, lambda: _said(edge), ended(2))
        (over,) = [one for one in found if one["direction"] == "gateway" and one["end"] != "open"]
        assert (over["host"], over["route"], over["destination"]) == (NAME, "shop/db", str(GUARDED))
        assert over["source"] == "gateway:edge"
        assert over["sent"] > 4
        with edge.connect("any") as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert connection.recv(1) == b""
        (refused,) = log.soon(mesh, 1, direction="gateway", end="refused")
        assert refused["reason"] == "tls_required"


def _said(edge: Any) -> None:
    assert edge.said(edge.connect()) == b"WORD"


def test_a_websocket_is_told_when_it_begins_and_its_end_says_what_moved(mesh: Mesh) -> None:
    upgrade = get(
        "/ws", "connection: upgrade", "upgrade: websocket", "sec-websocket-key: x", "sec-websocket-version: 13"
    )

    def script(talk: Talk) -> None:
        talk.head()
        talk.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhello\n")
        while talk.more():
            talk.send(talk.take())

    mesh.api.script = script

    def call() -> None:
        with connected(mesh.outbound()) as wire:
            wire.send(upgrade)
            answered = b""
            while not answered.endswith(b"hello\n"):
                answered += wire.read()
            wire.send(b"ping")
            while not answered.endswith(b"ping"):
                answered += wire.read()

    found = heard(mesh, call, ended(2))
    for direction in ("outbound", "inbound"):
        begun, over = [one for one in found if one["direction"] == direction]
        assert (begun["end"], begun["code"], begun["path"]) == ("open", 101, "/ws")
        assert (over["end"], over["code"], over["path"]) == ("done", 101, "/ws")
        assert (over["sent"], over["received"]) == (4, 10)
        assert begun["span_id"] == over["span_id"]


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[tuple[Mesh, Callable[[int], list[Span]]]]:
    """An engine that records every trace, and the spans a collector got."""
    with collecting() as collector:
        config = f'[traces]\nendpoint = "{collector.endpoint}"\nsample = 1.0\n'
        with running(tmp_path, config=config) as mesh:
            yield mesh, lambda count: [span for _, span in collector.spans(count)]


def test_a_connection_is_a_span_at_either_side(traced: tuple[Mesh, Callable[[int], list[Span]]]) -> None:
    mesh, spans = traced
    serve(mesh)
    converse(mesh)
    found = {span.kind: span for span in spans(2)}
    out = found[Span.SPAN_KIND_CLIENT]
    said = attributes(list(out.attributes))
    assert out.name == "tcp default/api"
    assert len(out.trace_id) == 16
    assert (said["weft.end"], said["weft.sent"], said["weft.received"]) == ("done", 4, 10)
    assert said["network.transport"] == "tcp"
    assert "http.response.status_code" not in said
    assert out.status.code == Status.STATUS_CODE_UNSET
    assert Span.SPAN_KIND_SERVER in found
