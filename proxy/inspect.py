"""What an engine says of itself to whoever asks at its socket, without becoming its agent."""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

import msgpack

from proxy import frames

PATIENCE = 10.0


class EngineAwayError(Exception):
    """No engine answers there."""

    code = "engine_away"


@dataclass(frozen=True, slots=True)
class Inspected:
    """The process that serves."""

    pid: int
    version: str


def inspect(path: Path) -> Inspected:
    """Ask the engine at this socket; raises `EngineAwayError`."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            connection.sendall(frames.encode("inspect", {}))
            (length,) = struct.unpack(">I", _exactly(connection, 4))
            said = json.loads(msgpack.unpackb(_exactly(connection, length), raw=False)["json"])
            return Inspected(int(said["pid"]), str(said["version"]))
    except (OSError, ValueError, KeyError) as error:
        raise EngineAwayError(f"no engine answers at {path}: {error or type(error).__name__}") from error


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise ConnectionResetError("it hung up")
        found += part
    return bytes(found)
