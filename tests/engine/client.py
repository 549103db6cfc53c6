"""A client that sends bytes as they are, plain or over mutual TLS, and reads to the end."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.support import strict_http
from tests.support.strict_http import Response

PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Door:
    """Somewhere a request may go in: an address and, at the inbound port, who we are and whom we want."""

    name: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str = ""


class Wire:
    """One connection. Half-closing tells the peer that nothing more comes, plain or over TLS."""

    def __init__(self, door: Door) -> None:
        self.socket = socket.create_connection(("127.0.0.1", door.port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        if door.tls is not None:
            self._tls = door.tls.wrap_bio(self._incoming, self._outgoing, server_hostname=door.server_name)
            try:
                self._handshake(self._tls)
            except BaseException:
                self.socket.close()
                raise

    def send(self, data: bytes) -> None:
        """All of it."""
        if self._tls is None:
            self.socket.sendall(data)
        else:
            self._tls.write(data)
            self._flush()

    @staticmethod
    def hello(door: Door) -> bytes:
        """What a client of a door begins its handshake with."""
        assert door.tls is not None
        outgoing = ssl.MemoryBIO()
        tls = door.tls.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=door.server_name)
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return outgoing.read()

    def finish(self) -> None:
        """Nothing more will be sent."""
        if self._tls is not None:
            with suppress(ssl.SSLWantReadError):
                self._tls.unwrap()
            self._flush()
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def read(self, most: int = 65536) -> bytes:
        """What has come; nothing at the end, which a reset is too."""
        try:
            if self._tls is None:
                return self.socket.recv(most)
            return self._read_tls(self._tls, most)
        except (ssl.SSLError, ConnectionError):
            return b""

    def read_all(self) -> bytes:
        """To the end."""
        return b"".join(iter(self.read, b""))

    def until(self, count: int, *methods: bytes) -> list[Response]:
        """So many final responses; raises `Dirty`, or EOFError where the connection ends before."""
        data = b""
        while len(found := strict_http.read_responses(data, methods, truncated=True)) < count:
            chunk = self.read()
            if not chunk:
                raise EOFError(f"the connection ended after {data!r}")
            data += chunk
        return found

    def close(self) -> None:
        """At once."""
        self.socket.close()

    def _read_tls(self, tls: ssl.SSLObject, most: int) -> bytes:
        while True:
            try:
                return tls.read(most)
            except ssl.SSLWantReadError:
                self._fill()

    def _handshake(self, tls: ssl.SSLObject) -> None:
        while True:
            try:
                tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            finally:
                self._flush()

    def _fill(self) -> None:
        chunk = self.socket.recv(65536)
        self._incoming.write(chunk) if chunk else self._incoming.write_eof()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.socket.sendall(self._outgoing.read())


@contextmanager
def connected(door: Door) -> Iterator[Wire]:
    """A connection for the length of a scope."""
    wire = Wire(door)
    try:
        yield wire
    finally:
        wire.close()


def exchange(door: Door, data: bytes) -> bytes:
    """Everything that is answered to these bytes and the end after them."""
    with connected(door) as wire:
        with suppress(OSError):
            wire.send(data)
            wire.finish()
        return wire.read_all()


def ask(door: Door, data: bytes, *methods: bytes) -> list[Response]:
    """The responses to these bytes; raises `Dirty`."""
    return strict_http.read_responses(exchange(door, data), methods)


def get(target: str = "/", *fields: str, method: str = "GET", body: bytes | None = None) -> bytes:
    """A request as anybody writes it."""
    lines = [f"{method} {target} HTTP/1.1", "host: api.test", *fields]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")
