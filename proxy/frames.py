"""The frames of the engine's socket: a big-endian length of four bytes, then one msgpack map with a `type`.

The shapes are those of `proxy/engine/weft-model/src/frame.rs`. What arrives is read into values here; a frame that cannot be
understood ends the connection, because nothing after it can be trusted either.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import msgpack

MAX_FRAME = 64 * 1024 * 1024


class InvalidFrame(ValueError):
    """Bytes that are no frame of this protocol."""

    code = "invalid_frame"


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the engine said first: what it understands and what it serves."""

    schema: int
    version: str
    base: int
    policy: int
    registry: int
    pid: int


@dataclass(frozen=True, slots=True)
class Ack:
    """A generation is in force in every worker."""

    generation: int


@dataclass(frozen=True, slots=True)
class Nack:
    """Nothing of an apply is in force, and why."""

    generation: int
    section: str
    code: str
    path: str
    message: str
    also: Sequence[str] = ()
    """Other sections that are refused for the same reason."""


@dataclass(frozen=True, slots=True)
class EpochAck:
    """An identity or trust epoch is in force."""

    epoch: int


@dataclass(frozen=True, slots=True)
class EpochNack:
    """An identity or trust epoch was refused; what was before stays."""

    epoch: int
    message: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened in the engine that somebody may want to know."""

    kind: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Subscribed:
    """Records follow."""


@dataclass(frozen=True, slots=True)
class Tap:
    """A request that ended: a JSON object. `dropped` records were lost so far, because this reader was behind."""

    record: str
    dropped: int


@dataclass(frozen=True, slots=True)
class Other:
    """A frame that this process does not act on."""

    kind: str


FromEngine = Welcome | Ack | Nack | EpochAck | EpochNack | Event | Subscribed | Tap | Other

_KINDS: Mapping[str, type[Welcome | Ack | Nack | EpochAck | EpochNack | Event | Subscribed | Tap]] = {
    "welcome": Welcome,
    "ack": Ack,
    "nack": Nack,
    "epoch_ack": EpochAck,
    "epoch_nack": EpochNack,
    "event": Event,
    "subscribed": Subscribed,
    "tap": Tap,
}


def encode(kind: str, fields: Mapping[str, object]) -> bytes:
    """One frame, length first; raises `InvalidFrame` where no engine would read it."""
    body = cast(bytes, msgpack.packb({"type": kind, **fields}, use_bin_type=True))
    if len(body) > MAX_FRAME:
        raise InvalidFrame(f"a {kind} frame of {len(body)} bytes is longer than an engine reads ({MAX_FRAME})")
    return struct.pack(">I", len(body)) + body


def decode(body: bytes) -> FromEngine:
    """The value of a frame without its length; raises `InvalidFrame`."""
    try:
        fields = dict(msgpack.unpackb(body, raw=False))
        kind = str(fields.pop("type"))
        if kind not in _KINDS:
            return Other(kind)
        return _KINDS[kind](**fields)
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise InvalidFrame(f"not a frame from an engine: {type(error).__name__}: {error}") from error


async def read(reader: asyncio.StreamReader) -> FromEngine:
    """The next frame; raises `InvalidFrame`, `asyncio.IncompleteReadError` at the end."""
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    if length > MAX_FRAME:
        raise InvalidFrame(f"a frame of {length} bytes; at most {MAX_FRAME} are read")
    return decode(await reader.readexactly(length))
