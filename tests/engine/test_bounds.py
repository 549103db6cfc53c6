"""Every bound of the engine's file, changed: it acts at what the file says, and not before."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from policy.compiled import Service
from tests.engine.application import answering
from tests.engine.client import Door, Wire, ask, connected, get
from tests.engine.framed import FramedApplication
from tests.engine.mesh import API, Mesh, running
from tests.support import http2
from tests.support.engine import engine_binary
from tests.support.http2 import Frame, frame

BOUNDS = """
[bounds]
connections = 4
handshakes = 2
handshake_timeout = "3s"
header_bytes = "2KiB"
header_count = 20
header_timeout = "600ms"
response_header_bytes = "3KiB"
idle_timeout = "500ms"
max_age = "1s"
[bounds.http2]
max_concurrent_streams = 3
stream_window = "32KiB"
connection_window = "256KiB"
headers_in_flight = "1KiB"
resets_per_second = 5
control_frames_per_second = 10
empty_frames_per_second = 3
small_frames_per_second = 4
continuation_frames = 2
"""

SLOW = 5.0
"""Nothing that is bounded to parts of a second takes as long, were the machine ever so busy."""


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh whose engine bears little."""
    with running(tmp_path_factory.mktemp("mesh"), config=BOUNDS) as mesh:
        yield mesh


@pytest.fixture
def mesh(bounded: Mesh) -> Mesh:
    """As it was at its start."""
    bounded.reset()
    return bounded


def _one(door: Door, request: bytes) -> int:
    (response,) = ask(door, request)
    return response.status


def test_connections_beyond_their_bound_wait_for_others_to_end(mesh: Mesh) -> None:
    waits = mesh.engine.metric("weft_accept_waits_total")
    with ExitStack() as stack:
        inside = [stack.enter_context(connected(mesh.outbound())) for _ in range(4)]
        for wire in inside:
            wire.send(get())
            assert wire.until(1)[0].status == 200
        late = stack.enter_context(connected(mesh.outbound()))
        late.send(get())
        late.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.socket.recv(1)
        late.socket.settimeout(SLOW)
        # Other listeners have room of their own.
        assert _one(mesh.gateway(), get()) == 200
        inside.pop().close()
        assert late.until(1)[0].status == 200
    assert mesh.engine.metric("weft_accept_waits_total") == waits + 1


def _half_a_handshake(door: Door, stack: ExitStack) -> Wire:
    """A client that says hello and hears what is said, and does nothing more."""
    wire = Wire(Door("half", door.port))
    stack.callback(wire.close)
    assert door.tls is not None
    hello = Wire.hello(door)
    wire.send(hello)
    assert wire.socket.recv(1)
    return wire


def test_a_crowd_of_half_handshakes_keeps_no_good_one_out(mesh: Mesh) -> None:
    with ExitStack() as stack:
        door = mesh.inbound()
        first, *_ = [_half_a_handshake(door, stack) for _ in range(2)]
        assert _one(door, get()) == 200
        # It made room for the good one, long before its own time was over.
        first.socket.settimeout(2)
        first.read_all()


def test_a_handshake_that_never_begins_is_ended(mesh: Mesh) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(connected(Door("silent", mesh.inbound().port))) for _ in range(2)]
        wires[1].send(b"\x16\x03\x01")
        began = time.monotonic()
        assert [wire.read_all() for wire in wires] == [b"", b""]
        assert 2 < time.monotonic() - began < 2 * SLOW


def test_a_head_has_so_many_bytes_and_fields(mesh: Mesh) -> None:
    for door in (mesh.outbound(), mesh.gateway()):
        assert _one(door, get("/", "x-large: " + "y" * 1800)) == 200
        assert _one(door, get("/", "x-large: " + "y" * 2048)) == 431
        assert _one(door, get("/", *("x-small: y" for _ in range(18)))) == 200
        assert _one(door, get("/", *("x-small: y" for _ in range(20)))) == 431


def _status_on_a_stream(mesh: Mesh, block: bytes) -> bytes:
    with http2.connected(mesh.outbound().port) as client:
        client.send(http2.headers(1, block))
        return client.until(http2.HEADERS, 1).payload


def test_each_crumb_of_a_cookie_is_a_field(mesh: Mesh) -> None:
    good, crumbs = http2.request("/"), [("cookie", f"c{number}=1") for number in range(21)]
    refused = _status_on_a_stream(mesh, good + http2.fields(crumbs))
    served = _status_on_a_stream(mesh, good + http2.fields(crumbs[:20]))
    assert b"431" in _plain(refused)
    assert served != refused
    assert len(mesh.api.requests) == 1


def _plain(block: bytes) -> bytes:
    """A status that no static entry stands for is a literal; digits have five bits each in RFC 7541's code."""
    code = {"0": 0b00000, "1": 0b00001, "2": 0b00010}
    longer = {"3": 0b011001, "4": 0b011010, "5": 0b011011}
    bits = "".join(format(longer[digit], "06b") if digit in longer else format(code[digit], "05b") for digit in "431")
    bits += "1" * (-len(bits) % 8)
    huffman = int(bits, 2).to_bytes(len(bits) // 8)
    return b"431" if huffman in block else b""


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nhost: a\r\nx: "])
def test_a_slow_head_is_told_so(mesh: Mesh, sent: bytes) -> None:
    with connected(mesh.outbound()) as own, connected(mesh.gateway()) as public:
        began = time.monotonic()
        for wire in (own, public):
            wire.send(sent)
        for wire in (own, public):
            assert wire.read_all().startswith(b"HTTP/1.1 408 ")
            assert 0.4 < time.monotonic() - began < SLOW


HALF_A_BLOCK = frame(http2.HEADERS, 0, 1, http2.request("/"))


@pytest.mark.parametrize("sent", [HALF_A_BLOCK, HALF_A_BLOCK[:20], HALF_A_BLOCK[:5]])
def test_a_slow_head_on_a_stream_ends_the_connection_though_others_are_under_way(mesh: Mesh, sent: bytes) -> None:
    with http2.connected(mesh.outbound().port) as client:
        client.send(http2.headers(3, http2.request("/", method="POST"), ended=False))
        began = time.monotonic()
        client.send(sent.replace(b"\0\0\0\1", b"\0\0\0\5"))
        assert client.is_cut()
        assert 0.4 < time.monotonic() - began < SLOW


def test_a_response_has_a_head_of_so_many_bytes(mesh: Mesh) -> None:
    for size, status in ((2500, 200), (3100, 502)):
        mesh.api.script = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: " + b"y" * size + b"\r\n\r\n")
        assert _one(mesh.outbound(), get()) == status


def test_a_client_of_the_world_may_be_silent_for_so_long(mesh: Mesh) -> None:
    with connected(mesh.gateway()) as public, connected(mesh.outbound()) as own:
        for wire in (public, own):
            wire.send(get())
            assert wire.until(1)[0].status == 200
        assert public.read_all() == b""
        own.send(get())
        assert own.until(1)[0].status == 200


def test_a_connection_to_an_application_gets_no_older(mesh: Mesh) -> None:
    with connected(mesh.outbound()) as wire:
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            wire.send(get())
            assert wire.until(1)[0].status == 200
    assert 2 <= mesh.api.connections <= 4


@pytest.fixture
def framed(mesh: Mesh) -> Iterator[FramedApplication]:
    """An application in the place of api that speaks HTTP/2."""
    application = FramedApplication()
    mesh.services[API] = Service(protocol="http2")
    mesh.endpoints[API] = (replace(mesh.endpoint("api-1"), port=application.port),)
    mesh.publish()
    yield application
    application.close()
    assert application.dirty == []


def test_a_connection_that_many_share_gets_no_older_and_loses_none_of_them(
    mesh: Mesh, framed: FramedApplication
) -> None:
    opened = mesh.engine.metric("weft_upstream_connections_total", 'how="opened"')
    with http2.connected(mesh.outbound().port) as client:
        # Under way on the first connection until another has taken its place.
        client.send(http2.headers(1, http2.request("/long", method="POST", content_length="4"), ended=False))
        stream, until = 1, time.monotonic() + SLOW
        while framed.connections < 2 and time.monotonic() < until:
            stream += 2
            client.send(http2.headers(stream, http2.request("/")))
            assert client.until(http2.HEADERS, stream).payload.startswith(http2.STATUS_200)
        assert framed.connections == 2
        client.send(frame(http2.DATA, http2.END_STREAM, 1, b"four"))
        assert client.until(http2.HEADERS, 1).payload.startswith(http2.STATUS_200)
    assert [request.target for request in framed.requests] == [b"/"] * (stream // 2) + [b"/long"]
    # Between the engines, too.
    assert mesh.engine.metric("weft_upstream_connections_total", 'how="opened"') >= opened + 4


def _settings(found: Frame) -> dict[int, int]:
    pairs = [found.payload[at : at + 6] for at in range(0, len(found.payload), 6)]
    return {int.from_bytes(pair[:2]): int.from_bytes(pair[2:]) for pair in pairs}


def test_streams_and_windows_are_what_the_settings_say(mesh: Mesh) -> None:
    with http2.connected(mesh.outbound().port) as client:
        said = _settings(client.until(http2.SETTINGS))
        assert (said[3], said[4], said[6]) == (3, 32 * 1024, 2048)
        grown = int.from_bytes(client.until(http2.WINDOW_UPDATE).payload)
        assert 65_535 + grown == 256 * 1024


def test_more_streams_are_refused(mesh: Mesh) -> None:
    with http2.connected(mesh.outbound().port) as client:
        block = http2.request("/", method="POST")
        client.send(b"".join(http2.headers(stream, block, ended=False) for stream in (1, 3, 5, 7)))
        assert client.until(http2.RST_STREAM, 7).payload == (7).to_bytes(4)
        client.send(frame(http2.DATA, http2.END_STREAM, 5))
        assert client.until(http2.HEADERS, 5)


def test_heads_under_way_share_so_much_memory(mesh: Mesh) -> None:
    block = http2.request("/", method="POST", x_large="y" * 700)
    with http2.connected(mesh.outbound().port) as client:
        client.send(http2.headers(1, block, ended=False) + http2.headers(3, block, ended=False))
        assert client.until(http2.RST_STREAM, 3).payload == (7).to_bytes(4)
        client.send(frame(http2.DATA, http2.END_STREAM, 1))
        assert client.until(http2.HEADERS, 1)
        # There is room again.
        client.send(http2.headers(5, block))
        assert client.until(http2.HEADERS, 5)


POST = http2.headers(1, http2.request("/", method="POST"), ended=False)
RESETS = [
    http2.headers(n, http2.request("/")) + frame(http2.RST_STREAM, 0, n, (8).to_bytes(4)) for n in range(1, 99, 2)
]
RATES: dict[str, tuple[bytes, list[bytes], int]] = {
    "resets": (b"", RESETS, 5),
    "control frames": (b"", [frame(http2.PING, payload=bytes(8))] * 40, 7),
    "empty frames": (POST, [frame(http2.DATA, 0, 1)] * 40, 3),
    "small frames": (POST, [frame(http2.DATA, 0, 1, b"x")] * 40, 4),
    "continuations": (HALF_A_BLOCK, [frame(http2.CONTINUATION, 0, 1, http2.fields([("x", "y")]))] * 40, 2),
}


@pytest.mark.parametrize("kind", RATES)
def test_so_many_frames_are_taken_in_a_second_and_no_more(mesh: Mesh, kind: str) -> None:
    first, frames, most = RATES[kind]
    with http2.connected(mesh.outbound().port) as client:
        client.send(first + b"".join(frames[:most]))
        if kind == "continuations":
            client.send(frame(http2.CONTINUATION, http2.END_HEADERS, 1))
            assert client.is_cut()
            return
        if kind != "resets":
            client.send(http2.headers(101, http2.request("/")))
            assert client.until(http2.HEADERS, 101)
    floods = mesh.engine.metric("weft_http2_floods_total")
    try:
        with http2.connected(mesh.outbound().port) as client:
            client.send(first + b"".join(frames))
            assert client.is_cut()
    except ConnectionError:
        pass
    assert mesh.engine.metric("weft_http2_floods_total") == floods + 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[bounds]\nheader_count = 500\n", "bounds.header_count = 500: expected 8 to 100"),
        ("[bounds]\nheader_timeout = 10\n", "a length of time with its unit"),
        ("[bounds]\nheader_bites = 10\n", "header_bites"),
        ('[bounds.http2]\nstream_window = "1KiB"\n', 'bounds.http2.stream_window = "1KiB": expected 16KiB to 16MiB'),
    ],
)
def test_a_bound_that_cannot_be_is_told_at_the_start(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "engine.toml"
    path.write_text(f'state_dir = "{tmp_path}"\nsocket = "{tmp_path}/s"\n[admin]\nlisten = "127.0.0.1:0"\n{text}')
    ended = subprocess.run([engine_binary(), "--config", path], capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert str(path) in ended.stderr
    assert said in ended.stderr
