"""HTTP/2 at both ends by a library that is not the engine's: an application that is strict, and a client that need not be."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from tests.support import strict_http
from tests.support.strict_http import Dirty, Request

PATIENCE = 10.0
ANSWER = b"ok"

Fields = Sequence[tuple[bytes, bytes]]


def as_lines(fields: Fields, body: bytes) -> bytes:
    """The same request as HTTP/1.1 writes it, for the strict reader to judge."""
    pseudo = {name: value for name, value in fields if name.startswith(b":")}
    plain = [(name, value) for name, value in fields if not name.startswith(b":") and name != b"content-length"]
    first = b"%s %s HTTP/1.1\r\nhost: %s\r\n" % (pseudo[b":method"], pseudo[b":path"], pseudo[b":authority"])
    return first + b"".join(b"%s: %s\r\n" % line for line in plain) + b"content-length: %d\r\n\r\n" % len(body) + body


class FramedApplication:
    """Speaks HTTP/2 by prior knowledge on loopback, and keeps what came whole."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.dirty: list[str] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def connections(self) -> int:
        """So many were accepted."""
        return len(self._open)

    def close(self) -> None:
        """Listen no more, and drop every connection."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,), daemon=True))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        h2 = H2Connection(H2Configuration(client_side=False, header_encoding=False))
        h2.initiate_connection()
        streams: dict[int, tuple[list[tuple[bytes, bytes]], bytearray]] = {}
        with connection:
            try:
                connection.sendall(h2.data_to_send())
                while data := connection.recv(65536):
                    for event in h2.receive_data(data):
                        self._happened(h2, streams, event)
                    connection.sendall(h2.data_to_send())
            except (ProtocolError, Dirty) as error:
                self.dirty.append(repr(error))
            except OSError:
                return

    def _happened(
        self, h2: H2Connection, streams: dict[int, tuple[list[tuple[bytes, bytes]], bytearray]], event: Event
    ) -> None:
        match event:
            case RequestReceived():
                streams[event.stream_id] = ([(bytes(name), bytes(value)) for name, value in event.headers], bytearray())
            case DataReceived():
                streams[event.stream_id][1].extend(event.data)
                h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case TrailersReceived():
                names = [bytes(name) for name, _ in event.headers]
                if any(name in strict_http.NEVER_IN_TRAILERS for name in names):
                    raise Dirty(0, f"never in trailers: {names!r}")
            case StreamReset():
                streams.pop(event.stream_id, None)
            case StreamEnded():
                fields, body = streams.pop(event.stream_id)
                (request,) = strict_http.read(as_lines(fields, bytes(body)))
                with self._lock:
                    self.requests.append(request)
                head_only = request.method == b"HEAD"
                length = str(len(ANSWER)).encode()
                h2.send_headers(
                    event.stream_id, [(b":status", b"200"), (b"content-length", length)], end_stream=head_only
                )
                if not head_only:
                    h2.send_data(event.stream_id, ANSWER, end_stream=True)
            case _:
                pass


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it is to be sent, good or not: pseudo fields among the others, its body in one piece."""

    fields: Fields
    body: bytes = b""
    trailers: Fields = ()


@dataclass(slots=True)
class Told:
    """What came back on a stream; no status: it was reset, or its connection ended."""

    status: int | None = None
    reason: str = ""
    body: bytearray = field(default_factory=bytearray)


def ask(port: int, requests: Sequence[Asked]) -> list[Told]:
    """All of them on one connection, without waiting between them; what is told of each, in their order."""
    config = H2Configuration(header_encoding=False, validate_outbound_headers=False, normalize_outbound_headers=False)
    h2 = H2Connection(config)
    h2.initiate_connection()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        told: dict[int, Told] = {}
        for request in requests:
            stream = h2.get_next_available_stream_id()
            told[stream] = Told()
            ended = not request.body and not request.trailers
            h2.send_headers(stream, request.fields, end_stream=ended)
            if request.body:
                h2.send_data(stream, request.body, end_stream=not request.trailers)
            if request.trailers:
                h2.send_headers(stream, request.trailers, end_stream=True)
        with contextlib.suppress(OSError):
            connection.sendall(h2.data_to_send())
        _read(connection, h2, told)
    return list(told.values())


def _read(connection: socket.socket, h2: H2Connection, told: dict[int, Told]) -> None:
    waiting = set(told)
    for event in _events(connection, h2):
        match event:
            case ResponseReceived():
                fields = dict(event.headers)
                one = told[event.stream_id]
                one.status, one.reason = int(fields[b":status"]), fields.get(b"x-weft-reason", b"").decode()
            case DataReceived():
                told[event.stream_id].body.extend(event.data)
            case StreamEnded():
                waiting.discard(event.stream_id)
            case StreamReset():
                # One that was answered is only told that the rest of it is not wanted.
                waiting.discard(event.stream_id)
            case ConnectionTerminated():
                waiting = {stream for stream in waiting if stream <= (event.last_stream_id or 0)}
            case _:
                pass
        if not waiting:
            return


def _events(connection: socket.socket, h2: H2Connection) -> Iterator[Event]:
    while True:
        try:
            data = connection.recv(65536)
        except ConnectionError:
            return
        if not data:
            return
        yield from h2.receive_data(data)
        with contextlib.suppress(OSError):
            connection.sendall(h2.data_to_send())
