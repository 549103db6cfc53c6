"""Single requests, and connections of bytes, as an engine tells of them when they end, over a connection of its own to its socket.

Only the engine's own user and root may open that socket, with an agent or without one. A recording is JSON lines: `header`
first, which says what format it is and what was asked for, then the engine's records as they came.

How it fails: `TapError` where the engine does not take the filter, OSError where it is away or we may not ask.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from proxy import frames

FORMAT = 1
"""Of a recording."""


class TapError(Exception):
    """The engine does not do what was asked."""

    code = "tap_refused"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which requests: all that is said has to hold, of a tuple one item. Names as metrics have them; `codes` as `503` or `5xx`."""

    direction: str = ""
    services: tuple[str, ...] = ()
    callers: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    failed: bool = False
    methods: tuple[str, ...] = ()
    path_prefix: str = ""
    sample: float = 1.0
    """The share that is told, from 0 to 1."""
    fields: tuple[str, ...] = ()
    """Further fields of the request to tell; those that carry credentials are refused."""


def header(wanted: Filter, *, at: str) -> str:
    """The first line of a recording that begins at a moment (RFC 3339)."""
    return json.dumps({"weft_tap": FORMAT, "at": at, "filter": asdict(wanted)})


@asynccontextmanager
async def tap(socket: Path, wanted: Filter) -> AsyncIterator[AsyncIterator[frames.Tap]]:
    """Records of what ends while the scope lasts, or until the engine ends; raises `TapError`, OSError."""
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(frames.encode("subscribe", {"filter": asdict(wanted)}))
        first = await frames.read(reader)
        if isinstance(first, frames.Nack):
            raise TapError(f"the engine at {socket} refuses: {first.message}")
        if not isinstance(first, frames.Subscribed):
            raise TapError(f"the engine at {socket} cannot be tapped: it answers {first!r}")
        yield _records(reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _records(reader: asyncio.StreamReader) -> AsyncIterator[frames.Tap]:
    with suppress(asyncio.IncompleteReadError):
        while True:
            record = await frames.read(reader)
            if isinstance(record, frames.Tap):
                yield record
