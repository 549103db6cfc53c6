"""Many at once: an engine's memory follows what it does now, not what it is promised."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from tests.engine.application import Talk
from tests.engine.client import ask, connected, get
from tests.engine.mesh import Mesh

MIB = 1024 * 1024
SIZE = 8 * MIB


def test_fifty_readers_who_pause_do_not_fill_the_engine(mesh: Mesh) -> None:
    def script(talk: Talk) -> None:
        while talk.request() is not None:
            talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % SIZE)
            talk.send(b"a" * SIZE)

    mesh.api.script = script
    before = mesh.engine.resident
    with ExitStack() as stack:
        wires = [stack.enter_context(connected(mesh.outbound())) for _ in range(50)]
        for wire in wires:
            wire.send(get())
        for wire in wires:
            assert wire.read(16).startswith(b"HTTP/1.1 200")
        # 400 MiB wait to be read; the engine has a budget for large buffers, and small ones by the connection.
        assert mesh.engine.resident - before < 160 * MIB
        (response,) = ask(mesh.outbound(), get())
        assert len(response.body) == SIZE
    mesh.api.hang_up()


def test_a_reader_who_pauses_for_longer_than_a_dead_host_would_gets_the_rest(mesh: Mesh) -> None:
    def script(talk: Talk) -> None:
        while talk.request() is not None:
            talk.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (4 * SIZE))
            talk.send(b"a" * (4 * SIZE))

    mesh.api.script = script
    with connected(mesh.outbound()) as wire:
        wire.send(get())
        time.sleep(8)
        (response,) = wire.until(1)
        assert len(response.body) == 4 * SIZE
    mesh.api.hang_up()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: a", get(method="PUT", body=b"abc")[:-1]])
def test_hundreds_who_send_half_a_request_keep_nobody_waiting(mesh: Mesh, sent: bytes) -> None:
    before = mesh.engine.resident
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(connected(mesh.outbound())).send(sent)
        assert [response.status for response in ask(mesh.outbound(), get())] == [200]
        assert mesh.engine.resident - before < 64 * MIB
