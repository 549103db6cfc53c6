"""An agent that says anything to an engine, and calls that go on meanwhile."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from proxy import frames, sections
from proxy.frames import Ack, FromEngine, Nack, Welcome
from tests.engine.client import ask, get
from tests.engine.mesh import Mesh

WITHIN = 15.0


class Agent:
    """A connection to the control socket that says anything."""

    def __init__(self, mesh: Mesh) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(WITHIN)
        self._socket.connect(str(mesh.engine.socket))

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Bytes as they are."""
        self._socket.sendall(data)

    def say(self, kind: str, **fields: object) -> FromEngine | None:
        """A frame, and the answer to it; None: the connection has ended."""
        self.send(frames.encode(kind, fields))
        return self.hear()

    def hear(self) -> FromEngine | None:
        """The next frame; None at the end."""
        head = self._exactly(4)
        if head is None:
            return None
        body = self._exactly(struct.unpack(">I", head)[0])
        return None if body is None else frames.decode(body)

    def hello(self) -> Welcome:
        """Become the agent."""
        welcome = self.say("hello", schema=sections.SCHEMA, agent="second")
        assert isinstance(welcome, Welcome)
        return welcome

    def apply(self, base: int, generation: int, **fields: object) -> Ack | Nack:
        """An apply and its answer."""
        rest: dict[str, object] = {"policy": 0, "registry": 0, "reset": False, "set": {}, "delete": []}
        answer = self.say("apply", base=base, generation=generation, **{**rest, **fields})
        assert isinstance(answer, Ack | Nack)
        return answer

    def ended(self) -> bool:
        """Whether the engine hung up, whatever it said before."""
        while (frame := self.hear()) is not None:
            assert isinstance(frame, Nack)
        return True

    def _exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            try:
                chunk = self._socket.recv(count - len(data))
            except ConnectionError:
                return None
            if not chunk:
                return None
            data += chunk
        return data


@contextmanager
def traffic(mesh: Mesh) -> Iterator[None]:
    """Requests one after another all the while; every one is answered by the application."""
    stop = threading.Event()
    wrong: list[str] = []
    count = 0

    def call() -> None:
        nonlocal count
        while not stop.is_set():
            try:
                (response,) = ask(mesh.outbound(), get("/traffic"))
                if response.status != 200:
                    wrong.append(f"{response.status} {response.reason} {response.body!r}")
            except (OSError, ValueError) as error:
                wrong.append(repr(error))
            count += 1

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(WITHIN)
    assert wrong == []
    assert count > 0
