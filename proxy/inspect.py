"""What an engine says of itself to whoever asks at its socket, without becoming its agent."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgpack

from proxy import frames

PATIENCE = 10.0


class EngineAwayError(Exception):
    """No engine answers there."""

    code = "engine_away"


@dataclass(frozen=True, slots=True)
class Inspected:
    """The process that serves. `ejected`: service, host and instance of those that are out of rotation."""

    pid: int
    version: str
    ejected: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Served:
    """The snapshot in force, as it was sent."""

    generation: int
    policy: int
    registry: int
    sections: Mapping[str, bytes]


def inspect(path: Path) -> Inspected:
    """Ask the engine at this socket; raises `EngineAwayError`."""
    try:
        said = json.loads(_ask(path, "inspect")["json"])
        return Inspected(
            int(said["pid"]),
            str(said["version"]),
            tuple(
                (str(service), str(one["host"]), str(one["instance"]))
                for service, told in said["services"].items()
                for one in told["endpoints"]
                if one["ejected"] or one["host_ejected"]
            ),
        )
    except (OSError, ValueError, KeyError) as error:
        raise _away(path, error) from error


def served(path: Path) -> Served:
    """The snapshot that the engine at this socket serves; raises `EngineAwayError`."""
    try:
        said = _ask(path, "sections")
        sections = {str(name): bytes(value) for name, value in said["sections"].items()}
        return Served(int(said["generation"]), int(said["policy"]), int(said["registry"]), sections)
    except (OSError, ValueError, KeyError) as error:
        raise _away(path, error) from error


def _ask(path: Path, what: str) -> dict[str, Any]:
    """The answer's fields; raises OSError, ValueError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        connection.sendall(frames.encode(what, {}))
        (length,) = struct.unpack(">I", _exactly(connection, 4))
        if length > frames.MAX_FRAME:
            raise ValueError(f"a frame of {length} bytes")
        said = cast("dict[str, Any]", msgpack.unpackb(_exactly(connection, length), raw=False))
        if said.get("type") == "nack":
            raise ValueError(f"it does not say {what}: {said.get('message')}")
        return said


def _away(path: Path, error: Exception) -> EngineAwayError:
    return EngineAwayError(f"no engine answers at {path}: {error or type(error).__name__}")


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        part = connection.recv(min(count - len(found), 1 << 20))
        if not part:
            raise ConnectionResetError("it hung up")
        found += part
    return bytes(found)
