"""Frames that cost their sender nothing: cut off early, and neither processor nor memory of the engine pays for them."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.engine.agent import traffic
from tests.engine.client import ask, get
from tests.engine.mesh import Mesh
from tests.support import http2
from tests.support.http2 import frame

MOST = 1000
BYTES = 64 * 1024
MEMORY = 4 << 20
ROUNDS = 8

POST = http2.headers(1, http2.request("/", method="POST"), ended=False)
CLOSED = frame(http2.SETTINGS, payload=(4).to_bytes(2) + bytes(4))
"""No answer may have a body."""


def _streams(count: int) -> range:
    return range(1, 2 * count + 1, 2)


def _resets() -> bytes:
    block = http2.request("/")
    cancel = (8).to_bytes(4)
    pairs = (
        http2.headers(stream, block) + frame(http2.RST_STREAM, 0, stream, cancel) for stream in _streams(MOST // 2)
    )
    return b"".join(pairs)


def _provoked() -> bytes:
    """Names in capitals: an error of each stream."""
    block = http2.request("/") + http2.fields([("X-Large", "1")])
    return b"".join(http2.headers(stream, block) for stream in _streams(MOST // 2))


def _closed_streams() -> bytes:
    """DATA for streams that have ended."""
    first = b"".join(http2.headers(stream, http2.request("/")) for stream in _streams(5))
    return first + frame(http2.DATA, 0, 1, b"late") * (MOST - 5)


def _overflows() -> bytes:
    """Windows beyond what a window may be."""
    block, wide = http2.request("/", method="POST"), (2**31 - 1).to_bytes(4)
    pairs = (
        http2.headers(stream, block, ended=False) + frame(http2.WINDOW_UPDATE, 0, stream, wide)
        for stream in _streams(MOST // 2)
    )
    return b"".join(pairs)


def _refused() -> bytes:
    block = http2.request("/", method="POST")
    return b"".join(http2.headers(stream, block, ended=False) for stream in _streams(MOST // 2))


def _continuations() -> bytes:
    first = frame(http2.HEADERS, 0, 1, http2.request("/"))
    return first + frame(http2.CONTINUATION, 0, 1, http2.fields([("x", "y")])) * MOST


def _references() -> bytes:
    """Blocks of 26 bytes, each of which says 12 KiB; and no window to answer in."""
    large = b"\x40" + http2.text("x-large") + http2.text("y" * 4000)
    plain = b"\x82\x86\x84\x01" + http2.text("api.test")
    blocks = (plain + (large if stream == 1 else b"\xbe" * 3) for stream in _streams(MOST))
    return CLOSED + b"".join(http2.headers(stream, block) for stream, block in zip(_streams(MOST), blocks, strict=True))


FLOODS: dict[str, Callable[[], bytes]] = {
    "pings": lambda: frame(http2.PING, payload=bytes(8)) * MOST,
    "settings": lambda: frame(http2.SETTINGS) * MOST,
    "priorities": lambda: frame(http2.PRIORITY, 0, 1, bytes(5)) * MOST,
    "unknown frames": lambda: frame(77, 0, 1) * MOST,
    "window updates": lambda: frame(http2.WINDOW_UPDATE, payload=(1).to_bytes(4)) * MOST,
    "windows too wide": _overflows,
    "rapid reset": _resets,
    "resets provoked by names": _provoked,
    "resets provoked by late bytes": _closed_streams,
    "resets provoked by too many": _refused,
    "continuations": _continuations,
    "empty continuations": lambda: (
        frame(http2.HEADERS, 0, 1, http2.request("/")) + frame(http2.CONTINUATION, 0, 1) * MOST
    ),
    "empty data": lambda: POST + frame(http2.DATA, 0, 1) * MOST,
    "padding": lambda: POST + frame(http2.DATA, http2.PADDED, 1, bytes([50]) + bytes(50)) * MOST,
    "data of one byte": lambda: POST + frame(http2.DATA, 0, 1, b"x") * MOST,
    "padded headers": lambda: frame(http2.HEADERS, http2.PADDED, 1, bytes([50]) + bytes(50)) * MOST,
    "references": _references,
}


CARRY = {"windows too wide", "rapid reset", "resets provoked by too many", "references"}
"""Made of requests that are good as far as they go, and are begun."""


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_cut_and_costs_no_more_than_it_costs_its_sender(mesh: Mesh, flood: str) -> None:
    data = FLOODS[flood]()
    assert len(data) <= 2 * BYTES
    _cost(mesh, data)
    resident = mesh.engine.resident
    for attempt in range(4):
        engine, sender = _cost(mesh, data)
        # A build for debugging spends twice as much as one for use; what is begun may cost what requests cost.
        if engine <= (200 * _honest(mesh) if flood in CARRY else 2 * sender):
            break
        assert attempt < 3, f"{engine} ns for {sender} ns"
    assert mesh.engine.resident - resident < MEMORY
    assert [response.status for response in ask(mesh.outbound(), get())] == [200]


def test_good_clients_go_on_under_floods(mesh: Mesh) -> None:
    made = [flood() for flood in FLOODS.values()]
    floods = mesh.engine.metric("weft_http2_floods_total")
    with traffic(mesh):
        for data in made:
            _send(mesh, data)
    assert mesh.engine.metric("weft_http2_floods_total") > floods


def _cost(mesh: Mesh, data: bytes) -> tuple[int, int]:
    """Nanoseconds of CPU at the engine and at its client, for one flood."""
    sender, engine = time.thread_time_ns(), mesh.engine.spent
    for _ in range(ROUNDS):
        _send(mesh, data)
    return (mesh.engine.spent - engine) // ROUNDS, (time.thread_time_ns() - sender) // ROUNDS


def _honest(mesh: Mesh) -> int:
    """Nanoseconds of CPU at the engine for a request."""
    before = mesh.engine.spent
    with http2.connected(mesh.outbound().port) as client:
        client.send(b"".join(http2.headers(stream, http2.request("/")) for stream in _streams(100)))
        answered = 0
        while answered < 100:
            found = client.read()
            assert found is not None
            answered += found.kind == http2.HEADERS
    return (mesh.engine.spent - before) // 100


def _send(mesh: Mesh, data: bytes) -> None:
    """A connection that sends this and no more is ended, whatever it is told before."""
    try:
        with http2.connected(mesh.outbound().port) as client:
            client.send(data)
            assert client.is_cut()
    except ConnectionError:
        pass
