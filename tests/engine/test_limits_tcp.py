"""Limits and faults of a service of bytes: connections in a time and at a time, kept by the called engine."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

from policy.compiled import Fault, Limit, Service
from tests.engine.application import Talk
from tests.engine.mesh import API, Mesh


def echo(talk: Talk) -> None:
    """Greet, then say everything again."""
    talk.send(b"hello\n")
    while talk.more():
        talk.send(talk.take())


def serve(mesh: Mesh, *limits: Limit, faults: tuple[Fault, ...] = ()) -> None:
    """Publish api as bytes."""
    mesh.api.script = echo
    mesh.services[API] = Service(protocol="tcp", limits=limits, faults=faults)
    mesh.publish()


def connect(mesh: Mesh) -> socket.socket:
    """Web's connection."""
    return socket.create_connection(("127.0.0.1", mesh.outbound().port), timeout=10)


def greeted(connection: socket.socket) -> bool:
    """Whether the application is at its other end."""
    return connection.recv(6) == b"hello\n"


def flows(mesh: Mesh) -> bool:
    """Whether another connection comes about; one that is refused is reset, at whatever moment that is seen."""
    try:
        with connect(mesh) as connection:
            return greeted(connection)
    except ConnectionError:
        return False


def test_so_many_connections_at_a_time(mesh: Mesh) -> None:
    serve(mesh, Limit("l/places", by="caller", concurrency=2))
    with ExitStack() as stack:
        held = [stack.enter_context(connect(mesh)) for _ in range(2)]
        assert [greeted(one) for one in held] == [True, True]
        assert not flows(mesh)
    refused = ('end="refused"', 'reason="limited"')
    assert mesh.metric("weft_tcp_connections_total", 'direction="inbound"', *refused) == 1
    assert mesh.metric("weft_limited_total", 'limit="l/places"') == 1
    end = time.monotonic() + 10
    while not flows(mesh):
        assert time.monotonic() < end


def test_so_many_connections_in_a_time(mesh: Mesh) -> None:
    serve(mesh, Limit("l/rate", rate=1, window_ms=3_600_000, burst=3))
    assert [flows(mesh) for _ in range(5)] == [True, True, True, False, False]


def test_connections_are_broken_on_purpose(mesh: Mesh) -> None:
    later = int(time.time() * 1_000) + 3_600_000
    serve(mesh, faults=(Fault("default/chaos", later, abort=500),))
    assert not flows(mesh)
    serve(mesh, faults=(Fault("default/chaos", later, delay_ms=300),))
    began = time.monotonic()
    assert flows(mesh)
    assert time.monotonic() - began >= 0.3
    serve(mesh, faults=(Fault("default/chaos", 1, abort=500),))
    assert flows(mesh)
