"""Readers and writers who stop: they hold what their windows are and no more, for so long and no longer, and keep nobody waiting."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack

from policy.compiled import Service, Traffic
from tests.engine.application import Talk
from tests.engine.client import connected, get
from tests.engine.mesh import API, Mesh
from tests.engine.pair import FAST, NEVER, only, serve
from tests.support import http2
from tests.support.http2 import frame

MIB = 1 << 20
SIZE = 4 * MIB
WINDOW = 256 * 1024
NOTHING = frame(http2.SETTINGS, payload=(4).to_bytes(2) + bytes(4))
"""A client that takes no body at all."""
WITHIN = 20.0


def _large(talk: Talk) -> None:
    while (request := talk.request()) is not None:
        body = b"a" * SIZE if request.target == b"/large" else b"ok"
        talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def test_200_readers_who_stopped_hold_their_windows_keep_nobody_waiting_and_are_ended(pair: Mesh) -> None:
    only(pair)
    serve(pair, stream_idle_ms=6_000)
    only(pair)
    for application in pair.applications.values():
        application.script = _large
    engines = [host.engine for host in pair.hosts]
    port = pair.outbound().port
    with http2.connected(port) as client:
        client.send(http2.headers(1, http2.request("/")))
        client.until(http2.DATA, 1)
    before = [engine.resident for engine in engines]
    with ExitStack() as stack:
        clients = [stack.enter_context(http2.connected(port)) for _ in range(2)]
        for client in clients:
            client.send(NOTHING)
            block = http2.request("/large")
            client.send(b"".join(http2.headers(stream, block) for stream in range(1, 201, 2)))
        for client in clients:
            headed = 0
            while headed < 100:
                found = client.read()
                assert found is not None
                headed += found.kind == http2.HEADERS
        # Everybody else goes on at once, over the same connection between the engines.
        for _ in range(20):
            with http2.connected(port) as good:
                good.send(http2.headers(1, http2.request("/")))
                assert good.until(http2.DATA, 1).payload == b"ok"
        grown = [engine.resident - was for engine, was in zip(engines, before, strict=True)]
        print("grown by", [size // MIB for size in grown], "MiB")
        assert max(grown) < 200 * WINDOW * 1.5
        for client in clients:
            ended = 0
            while ended < 100:
                found = client.read()
                assert found is not None
                ended += found.kind == http2.RST_STREAM
    pair.applications["api-2"].hang_up()
    pair.api.hang_up()


def test_a_body_that_stops_coming_is_given_up_on(mesh: Mesh) -> None:
    mesh.services[API] = Service(traffic=Traffic(stream_idle_ms=700, retry=FAST, outlier=NEVER))
    mesh.publish()
    half = get("/", method="POST", body=b"abcdef")[:-3]
    began = time.monotonic()
    with connected(mesh.outbound()) as wire, http2.connected(mesh.outbound().port) as client:
        wire.send(half)
        client.send(http2.headers(1, http2.request("/", method="POST"), ended=False) + frame(http2.DATA, 0, 1, b"abc"))
        assert client.until(http2.HEADERS, 1)
        assert wire.read_all().startswith(b"HTTP/1.1 504 ")
    assert 0.5 < time.monotonic() - began < 5
    assert mesh.api.requests == []


def test_many_small_messages_for_a_reader_who_stopped_are_held_as_bytes_and_not_as_frames(mesh: Mesh) -> None:
    """A frame costs the library that keeps it some hundred bytes, whatever it brings."""

    go = threading.Event()

    def script(talk: Talk) -> None:
        talk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        talk.head()
        go.wait(WITHIN)
        while talk.more():
            talk.take()

    mesh.api.script = script
    try:
        _send_small_messages(mesh)
    finally:
        go.set()
        mesh.api.hang_up()


def _send_small_messages(mesh: Mesh) -> None:
    small = frame(http2.DATA, 0, 1, b"\0\0\0\0\0")
    with http2.connected(mesh.outbound().port) as client:
        before = mesh.engine.resident
        # Only when they are acknowledged do the settings hold, windows among them.
        client.until(http2.SETTINGS)
        client.send(frame(http2.SETTINGS, http2.ACK))
        client.send(http2.headers(1, http2.request("/", method="POST"), ended=False))
        while not mesh.api.connections:
            time.sleep(0.01)
        client.socket.settimeout(1.5)
        sent, windows = 0, {0: 65_535, 1: WINDOW}
        try:
            while sent < 64 * MIB:
                while min(windows.values()) >= 5000:
                    client.send(small * 1000)
                    sent += len(small) * 1000
                    windows = {stream: window - 5000 for stream, window in windows.items()}
                found = client.read()
                assert found is not None, "the connection was ended"
                if found.kind == http2.WINDOW_UPDATE:
                    windows[found.stream] += int.from_bytes(found.payload)
        except TimeoutError:
            pass
        grown = mesh.engine.resident - before
        print("sent", sent // 1024, "KiB, grown by", grown // 1024, "KiB")
        assert grown < 4 * MIB
        # Nor was the connection ended for it.
        client.socket.settimeout(WITHIN)
        client.send(frame(http2.PING, payload=bytes(8)))
        assert client.until(http2.PING).flags == http2.ACK
