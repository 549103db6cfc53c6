"""Frames of HTTP/2, made and read by hand: as much as a test needs that must be able to do what no library lets it do.

Fields are written as literals without indexing (RFC 7541 section 6.2.2). Those of answers are not decoded.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8

STATUS_200 = b"\x88"
"""How the header block of such an answer begins (RFC 7541 appendix A)."""

PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Its bytes."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def fields(lines: Iterable[tuple[str, str]]) -> bytes:
    """A header block."""
    return b"".join(b"\0" + text(name) + text(value) for name, value in lines)


def text(value: str) -> bytes:
    """A string literal."""
    data = value.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, length = len(data) - 127, b"\x7f"
    while rest >= 128:
        length += bytes([rest % 128 | 128])
        rest //= 128
    return length + bytes([rest]) + data


def request(path: str = "/", *, method: str = "GET", **further: str) -> bytes:
    """The header block of a request."""
    pseudo = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "api.test")]
    return fields([*pseudo, *((name.replace("_", "-"), value) for name, value in further.items())])


def headers(stream: int, block: bytes, *, ended: bool = True) -> bytes:
    """A request in one frame."""
    return frame(HEADERS, END_HEADERS | (END_STREAM if ended else 0), stream, block)


class Connection:
    """A client's connection. Nothing is answered by itself: no settings, no pings, no windows."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._buffer = b""
        self.send(PREFACE + frame(SETTINGS))

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self.socket.sendall(data)

    def read(self) -> Frame | None:
        """The next frame; None at the end, which a reset is too."""
        head = self._exactly(9)
        if head is None:
            return None
        payload = self._exactly(int.from_bytes(head[:3]))
        return None if payload is None else Frame(head[3], head[4], int.from_bytes(head[5:9]), payload)

    def until(self, kind: int, stream: int = 0) -> Frame:
        """The next frame of a kind; raises EOFError where the connection ends before."""
        while (found := self.read()) is not None:
            if (found.kind, found.stream) == (kind, stream):
                return found
        raise EOFError(f"no frame of kind {kind}")

    def is_cut(self) -> bool:
        """Whether the other side ends it, whatever it says before."""
        try:
            while self.read() is not None:
                pass
        except TimeoutError:
            return False
        return True

    def _exactly(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            try:
                chunk = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not chunk:
                return None
            self._buffer += chunk
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found


@contextmanager
def connected(port: int) -> Iterator[Connection]:
    """A connection for the length of a scope."""
    connection = Connection(port)
    try:
        yield connection
    finally:
        connection.socket.close()
