"""What a proxy costs while nothing happens: the process, a connection that is kept alive, one under mutual TLS.

Only a fresh process tells the truth: one that served load before reuses what it freed. Every connection has carried one request.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass

from tests.bench.certificates import Files, Pair
from tests.bench.meter import LoadError, resident_kib
from tests.bench.peers import Running

PLAIN_CONNECTIONS = 5000
TLS_CONNECTIONS = 2000


@dataclass(frozen=True, slots=True)
class Idle:
    """KiB of a process that has served one request, and KiB that each further idle connection adds."""

    process: float
    connection: float


def idle(proxy: Running, *, connections: int, pair: Pair | None = None) -> Idle:
    """Measure with so many connections, under mutual TLS if there are certificates for it."""
    shown = None if pair is None else context(pair.client)
    with contextlib.ExitStack() as stack:

        def connect() -> None:
            stream = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
            if shown is not None and pair is not None:
                stream = shown.wrap_socket(stream, server_hostname=pair.server.server_name)
            stack.enter_context(stream)
            ask(stream)

        connect()
        process = resident_kib(proxy.pids)
        for _ in range(connections):
            connect()
        return Idle(process, (resident_kib(proxy.pids) - process) / connections)


def ask(stream: socket.socket) -> None:
    """One request on it, and its whole answer."""
    stream.sendall(b"GET /36 HTTP/1.1\r\nHost: api\r\n\r\n")
    received = b""
    while not received.endswith(b"x" * 36):
        piece = stream.recv(4096)
        if not piece:
            raise LoadError(f"no answer to a single request: {received!r}")
        received += piece
    if not received.startswith(b"HTTP/1.1 200"):
        raise LoadError(f"a single request was answered {received!r}")


def context(client: Files) -> ssl.SSLContext:
    """As the calling service."""
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    shown.load_verify_locations(client.ca)
    shown.load_cert_chain(client.chain, client.key)
    shown.set_alpn_protocols(["http/1.1"])
    return shown
