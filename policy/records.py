"""What the JSON keys of policy hold: the status of documents and of the controller, the log, a pending set, last good bytes.

Reading is strict about what it uses and ignores what it does not know. Encoding sorts its fields, so that an unchanged
value gives unchanged bytes and is not written again. A value that cannot be read raises `InvalidRecord`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal, TypeVar, cast

import orjson
from pydantic import TypeAdapter, ValidationError

State = Literal["accepted", "rejected", "shadowed", "incomplete"]
InForce = Literal["current", "last-good", "none"]


class InvalidRecord(ValueError):
    """A stored value that cannot be understood; the message says which and why."""

    code = "invalid_record"


@dataclass(frozen=True, slots=True)
class Problem:
    """One diagnostic as stored. Lines and columns count from 1; 0 where the document as a whole is meant."""

    line: int
    column: int
    path: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class DocumentStatus:
    """`status/policy/…`: what became of a document at `revision`, its own modification revision.

    `errors` are why it is not accepted; `notes` hold for an accepted one (it matches nothing, it waits for a gateway).
    """

    state: State
    revision: int
    in_force: InForce
    errors: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    applies_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ControllerStatus:
    """`status/controller`: who leads, up to which revision it has looked (`seen`) and what it last published.

    `source_revision` is that of `compiled/head`; `counts` of documents by state, services and gateways compiled.
    """

    leader: str
    source_revision: int
    seen: int
    counts: Mapping[str, int] = field(default_factory=dict)
    last_error: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """`status/rollout`: the hosts of the roster at the head's revision. The lists hold the first hundred names."""

    revision: int
    roster: int
    acked: int
    refusing: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """`pending/<apply>`: the keys (relative to the root) that are being written together.

    Each with the SHA-256 in hex of what it will hold, so that a reader who missed the end can tell whether there was one.
    """

    keys: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """`log/…`: the text after the change (None: deleted) and when it was seen; `gap`: changes before it were not seen."""

    document: str | None
    at: float
    gap: bool = False


Record = DocumentStatus | ControllerStatus | RolloutStatus | Pending | LogEntry
T = TypeVar("T", bound=Record)


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter({of.__name__: of for of in Record.__args__}[name])


def encode(record: Record) -> bytes:
    """The stored JSON."""
    return orjson.dumps(asdict(record), option=orjson.OPT_SORT_KEYS)


def decode(of: type[T], key: str, value: bytes) -> T:
    """The record in `value`, the value of `key`; raises `InvalidRecord`."""
    try:
        return cast(T, _adapter(of.__name__).validate_json(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the value"
        raise InvalidRecord(f"{key}: {where}: {first['msg']}") from error


@dataclass(frozen=True, slots=True)
class LastGood:
    """`lastgood/…`: the last accepted bytes of a document, and the revision that wrote them."""

    revision: int
    document: bytes

    _HEAD = b"# weft: accepted at revision "

    def encode(self) -> bytes:
        """The document itself under a comment that carries the revision."""
        return b"%s%d\n%s" % (self._HEAD, self.revision, self.document)

    @classmethod
    def decode(cls, key: str, value: bytes) -> LastGood:
        """The inverse of `encode`; raises `InvalidRecord`."""
        head, newline, document = value.partition(b"\n")
        revision = head.removeprefix(cls._HEAD)
        if not newline or revision == head or not revision.isdigit():
            raise InvalidRecord(f"{key}: expected a first line {cls._HEAD.decode()}<number>, found {head[:60]!r}")
        return cls(int(revision), document)
