"""HTTP/2 by hand-made frames: what is malformed is refused, and others go on."""

from __future__ import annotations

import pytest

from tests.engine.client import ask
from tests.engine.mesh import Mesh
from tests.support import http2
from tests.support.http2 import frame

SOON = 5.0
"""Far less than a connection may be idle."""


def test_more_streams_than_are_allowed_are_refused_and_the_others_served(mesh: Mesh) -> None:
    with http2.connected(mesh.outbound().port) as client:
        block = http2.request("/", method="POST")
        client.send(b"".join(http2.headers(stream, block, ended=False) for stream in range(1, 2 * 101 + 1, 2)))
        refused = client.until(http2.RST_STREAM, 201)
        assert refused.payload == (7).to_bytes(4)
        client.send(frame(http2.DATA, http2.END_STREAM, 1))
        assert client.until(http2.HEADERS, 1).flags & http2.END_HEADERS


def test_a_header_list_over_its_bound_is_refused_and_the_connection_goes_on(mesh: Mesh) -> None:
    with http2.connected(mesh.outbound().port) as client:
        block = http2.request("/", x_large="y" * 15_900, x_more="z" * 400)
        client.send(frame(http2.HEADERS, http2.END_STREAM, 1, block[:16_000]))
        client.send(frame(http2.CONTINUATION, http2.END_HEADERS, 1, block[16_000:]))
        assert client.until(http2.HEADERS, 1)
        assert mesh.api.requests == []
        client.send(http2.headers(3, http2.request("/")))
        assert client.until(http2.HEADERS, 3)
    assert len(mesh.api.requests) == 1


@pytest.mark.parametrize("name", ["connection", "transfer-encoding", "keep-alive", "upgrade", "proxy-connection"])
def test_a_field_of_one_connection_is_an_error_of_its_stream(mesh: Mesh, name: str) -> None:
    with http2.connected(mesh.outbound().port) as client:
        client.send(http2.headers(1, http2.request("/") + http2.fields([(name, "x")])))
        assert client.until(http2.RST_STREAM, 1).payload == (1).to_bytes(4)
    assert mesh.api.requests == []


@pytest.mark.parametrize(("length", "sent"), [("3", b"four"), ("5", b"four")])
def test_a_body_of_another_length_than_was_said_is_never_a_whole_request(mesh: Mesh, length: str, sent: bytes) -> None:
    with http2.connected(mesh.outbound().port) as client:
        client.send(http2.headers(1, http2.request("/", method="POST", content_length=length), ended=False))
        client.send(frame(http2.DATA, http2.END_STREAM, 1, sent))
        assert client.until(http2.RST_STREAM, 1).payload == (1).to_bytes(4)
    assert mesh.api.requests == []


def test_http2_without_tls_is_for_applications_only(mesh: Mesh) -> None:
    for door in (mesh.gateway(), mesh.inbound()):
        (response,) = ask(door, http2.PREFACE)
        assert response.status == 400


def test_connect_is_refused_and_so_is_its_extension(mesh: Mesh) -> None:
    tunnel = http2.fields([(":method", "CONNECT"), (":authority", "api.test:443")])
    extended = http2.request("/", method="CONNECT") + http2.fields([])
    with http2.connected(mesh.outbound().port) as client:
        assert 8 not in _settings(client.until(http2.SETTINGS).payload)
        client.send(http2.headers(1, tunnel, ended=False))
        assert client.until(http2.HEADERS, 1)
        client.send(http2.headers(3, http2.fields([(":protocol", "websocket")]) + extended, ended=False))
        assert client.until(http2.RST_STREAM, 3)
        client.send(http2.headers(5, http2.request("/")))
        assert client.until(http2.HEADERS, 5)
    assert [request.method for request in mesh.api.requests] == [b"GET"]


GOODBYE = frame(http2.GOAWAY, payload=bytes(8))
"""The highest stream is none of ours, and nothing was wrong."""


def test_a_client_that_says_goaway_while_nothing_is_under_way_is_let_go_at_once(mesh: Mesh) -> None:
    with http2.connected(mesh.outbound().port) as client:
        client.send(http2.headers(1, http2.request("/")))
        assert client.until(http2.HEADERS, 1)
        while not client.until(http2.DATA, 1).flags & http2.END_STREAM:
            pass
        client.socket.settimeout(SOON)
        client.send(GOODBYE)
        # No error, and then the end.
        assert client.until(http2.GOAWAY).payload[4:8] == bytes(4)
        assert client.is_cut()


def test_what_was_under_way_when_a_client_said_goaway_is_answered(mesh: Mesh) -> None:
    with http2.connected(mesh.outbound().port) as client:
        client.send(http2.headers(1, http2.request("/", method="POST", content_length="8"), ended=False))
        client.send(frame(http2.DATA, 0, 1, b"half") + GOODBYE + frame(http2.PING, payload=bytes(8)))
        client.until(http2.PING)
        client.socket.settimeout(SOON)
        client.send(frame(http2.DATA, http2.END_STREAM, 1, b"done"))
        assert client.until(http2.HEADERS, 1).payload.startswith(http2.STATUS_200)
        assert client.is_cut()
    assert [request.body for request in mesh.api.requests] == [b"halfdone"]


def _settings(payload: bytes) -> set[int]:
    return {int.from_bytes(payload[at : at + 2]) for at in range(0, len(payload), 6)}
