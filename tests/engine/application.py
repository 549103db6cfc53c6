"""An application that keeps what it was sent and answers as it is told.

Every connection has a thread and a `Talk`, which a script drives. The script everybody starts with, `answer_all`, reads with
the strict reader: what it cannot read is kept in `dirty`, and that alone fails a test.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

from tests.support import strict_http
from tests.support.strict_http import Dirty, Request

PATIENCE = 30.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Talk:
    """One connection at the application."""

    def __init__(self, connection: socket.socket, application: Application) -> None:
        self.socket = connection
        self.application = application
        self._buffer = bytearray()

    def request(self) -> Request | None:
        """The next request, kept; None at the end of the connection. Raises `Dirty`."""
        while True:
            found = strict_http.read_first(bytes(self._buffer))
            if found is not None:
                del self._buffer[: found[1]]
                self.application.keep(found[0])
                return found[0]
            if not self.more():
                return None

    def head(self) -> bytes:
        """The bytes up to the end of the next head, its body unread; nothing at the end of the connection."""
        while b"\r\n\r\n" not in self._buffer:
            if not self.more():
                return b""
        end = self._buffer.index(b"\r\n\r\n") + 4
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return head

    def take(self) -> bytes:
        """What was read beyond the last head; nothing if there is none."""
        taken = bytes(self._buffer)
        self._buffer.clear()
        return taken

    def more(self) -> bool:
        """Read on; whether anything came."""
        chunk = self.socket.recv(65536)
        self._buffer += chunk
        return bool(chunk)

    def send(self, data: bytes) -> None:
        """Answer."""
        self.socket.sendall(data)

    def reset(self) -> None:
        """Let the kernel say that nobody is here any more."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Script = Callable[[Talk], None]


def answer_all(talk: Talk) -> None:
    """Every request: 200 and two bytes, or the head of it."""
    while (request := talk.request()) is not None:
        talk.send(OK[:-2] if request.method == b"HEAD" else OK)


def answering(response: bytes, *, then_close: bool = True) -> Script:
    """These bytes for every request."""

    def script(talk: Talk) -> None:
        while talk.request() is not None:
            talk.send(response)
            if then_close:
                return

    return script


class Application:
    """A program that listens on loopback while it is alive."""

    def __init__(self) -> None:
        self.script: Script = answer_all
        self.dirty: list[str] = []
        """What the strict reader did not take."""
        self.requests: list[Request] = []
        """What was received whole since `reset`."""
        self.connections = 0
        """How many there were since `reset`."""
        self.port = 0
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.live()

    def keep(self, request: Request) -> None:
        """A request arrived whole."""
        with self._lock:
            self.requests.append(request)

    def reset(self) -> None:
        """As it was at first, but for its port: alive, with the first script, and every connection closed."""
        self.hang_up()
        self.script = answer_all
        self.live()
        with self._lock:
            self.requests.clear()
            self.dirty.clear()
            self.connections = 0

    def live(self) -> None:
        """Listen, at the port it had before."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
            self.port = self._listener.getsockname()[1]
            thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def die(self) -> None:
        """Listen no more, and drop every connection."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close every connection that is open, and wait until their scripts have ended."""
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
            threads = [thread for thread in self._threads if thread.name == "talk"]
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a script does not end"
            self._threads.remove(thread)

    def close(self) -> None:
        """The end, for good."""
        self.die()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE)
            thread = threading.Thread(target=self._talk, args=(connection,), name="talk", daemon=True)
            with self._lock:
                self.connections += 1
                self._open.add(connection)
                self._threads.append(thread)
                thread.start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.script(Talk(connection, self))
            except Dirty as error:
                self.dirty.append(str(error))
            except OSError:
                pass
            finally:
                with self._lock:
                    self._open.discard(connection)
