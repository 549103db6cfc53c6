"""An engine of a script: speaks the frames of the engine's socket and does what a test tells it to."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any

import msgpack

from proxy import frames

Frame = dict[str, Any]


class Scripted:
    """One engine: remembers frames, serves sections, refuses those whose bytes are in `bad`, holds acks on request.

    What it says of a refusal is `bad_code`; with `bad_section` it names that one instead of the one that is bad.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames: list[Frame] = []
        self.sections: dict[str, bytes] = {}
        self.base = 0
        self.bad: set[bytes] = set()
        self.bad_code = "invalid_section"
        self.bad_section: str | None = None
        self.schema = 1
        self.answering = asyncio.Event()
        self.answering.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()
        self.path.unlink(missing_ok=True)

    async def say(self, kind: str, fields: dict[str, object]) -> None:
        """Something nobody asked for, to everyone."""
        for writer in self._writers:
            writer.write(frames.encode(kind, fields))
            await writer.drain()

    def opened(self, name: str) -> dict[str, Any]:
        """A section it serves, unpacked."""
        return dict(msgpack.unpackb(self.sections[name], raw=False))

    def applies(self) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == "apply"]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                (length,) = struct.unpack(">I", await reader.readexactly(4))
                frame = msgpack.unpackb(await reader.readexactly(length), raw=False)
                self.frames.append(frame)
                if frame["type"] == "apply":
                    await self.answering.wait()
                writer.write(frames.encode(*self._answer(frame)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, frame: Frame) -> tuple[str, dict[str, object]]:
        match frame["type"]:
            case "hello":
                fields = {"version": "0", "base": self.base, "policy": 0, "registry": 0, "pid": 1}
                return "welcome", {"schema": self.schema, **fields}
            case "apply":
                return self._apply(frame)
            case _:
                return "epoch_ack", {"epoch": frame["epoch"]}

    def _apply(self, frame: Frame) -> tuple[str, dict[str, object]]:
        nack = {"generation": frame["generation"], "section": "", "code": "rebase", "path": "", "message": "no"}
        if not frame["reset"] and frame["base"] != self.base:
            return "nack", nack
        for name, value in frame["set"].items():
            if value in self.bad:
                said = name if self.bad_section is None else self.bad_section
                return "nack", {**nack, "section": said, "code": self.bad_code, "path": "routes[0]"}
        kept = {} if frame["reset"] else self.sections
        self.sections = {name: value for name, value in {**kept, **frame["set"]}.items() if name not in frame["delete"]}
        self.base = frame["generation"]
        return "ack", {"generation": self.base}
