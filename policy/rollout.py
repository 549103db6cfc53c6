"""Is a change live? Who serves policy of which revision, and waiting until everyone does (DESIGN.md section 5, Waiting).

The question has an exact answer, because every host acks the policy revision its engine serves and the compiler says up
to which revision it has looked. `rollout` decides from what is stored, purely; `policy.waiting`
looks again whenever one of those keys changes.

How it fails: not at all. A key that cannot be read counts as not there and is logged; the decision names who is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

import orjson

from policy import compiled, records
from registry import keys
from registry.names import InvalidName, check_name
from registry.store import Item

logger = logging.getLogger(__name__)

MAX_REFUSED = 100

K = TypeVar("K")
V = TypeVar("V")


class InvalidAck(ValueError):
    """The value of an `ack/` key that cannot be understood."""

    code = "invalid_ack"


@dataclass(frozen=True, slots=True)
class Refused:
    """A section the engine would not take: its name, the engine's code and the path inside it."""

    section: str
    code: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """A certificate the engine serves: serial in lower-case hex, end in seconds since the epoch."""

    serial: str
    not_after: float


@dataclass(frozen=True, slots=True)
class Ack:
    """`ack/<host>`: what a host's engine serves. `certificates` by SPIFFE ID.

    `trusts` are the roots that its engine and its agent believe, `under` those that any certificate of the host ends in,
    both by fingerprint; `notes` is what people should know besides.
    """

    policy: int
    registry: int
    refused: tuple[Refused, ...] = ()
    certificates: Mapping[str, Served] = field(default_factory=dict)
    trusts: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Canonical JSON: the same ack gives the same bytes. At most `MAX_REFUSED` refusals are told."""
        return orjson.dumps(
            {
                "policy": self.policy,
                "registry": self.registry,
                "refused": [[one.section, one.code, one.path] for one in self.refused[:MAX_REFUSED]],
                "certificates": {id_: [served.serial, served.not_after] for id_, served in self.certificates.items()},
                "trusts": self.trusts,
                "under": self.under,
                "notes": self.notes,
            },
            option=orjson.OPT_SORT_KEYS,
        )

    @classmethod
    def decode(cls, value: bytes) -> Ack:
        """The inverse of `encode`; raises `InvalidAck`."""
        try:
            plain = orjson.loads(value)
            return cls(
                policy=int(plain["policy"]),
                registry=int(plain["registry"]),
                refused=tuple(Refused(str(section), str(code), str(path)) for section, code, path in plain["refused"]),
                certificates={
                    str(id_): Served(str(serial), float(end)) for id_, (serial, end) in plain["certificates"].items()
                },
                trusts=tuple(map(str, plain.get("trusts", ()))),
                under=tuple(map(str, plain.get("under", ()))),
                notes=tuple(map(str, plain.get("notes", ()))),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidAck(f"not an ack: {type(error).__name__}: {error}") from error


class Outcome(Enum):
    """What a rollout has come to; the value is the exit code of `weft wait` (WAITING becomes 6 when time is up)."""

    DONE = 0
    REFUSED = 1
    WAITING = 6


@dataclass(frozen=True, slots=True)
class Rollout:
    """Who serves policy of `revision` or later. `covered` is False while the compiler has not published that far.

    `behind` maps a host to the policy revision it acked (0: none yet), `refusing` to what it refuses; `silent` have
    neither lease nor ack.
    """

    revision: int
    covered: bool
    current: tuple[str, ...] = ()
    behind: Mapping[str, int] = field(default_factory=dict)
    refusing: Mapping[str, tuple[Refused, ...]] = field(default_factory=dict)
    silent: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """DONE when everyone serves it and nobody refuses anything; REFUSED when everyone answered and somebody refuses."""
        if not self.covered or self.behind or self.silent:
            return Outcome.WAITING
        return Outcome.REFUSED if self.refusing else Outcome.DONE


def needed(revision: int, *, head: int, seen: int) -> int | None:
    """The policy revision a host must have acked so that all of policy up to `revision` is live; None: not published yet.

    A revision that changed no policy is covered by an older head as soon as the compiler has looked that far.
    """
    if head >= revision:
        return revision
    return head if seen >= revision else None


def rollout(
    *,
    roster: Collection[str],
    hosts: Collection[str],
    acks: Mapping[str, Ack],
    head: int,
    seen: int,
    revision: int,
    live: bool = False,
) -> Rollout:
    """Sort the hosts of the roster by what they serve. `hosts` are those with a lease; `live` leaves out the others."""
    goal = needed(revision, head=head, seen=seen)
    current: list[str] = []
    silent: list[str] = []
    behind: dict[str, int] = {}
    refusing: dict[str, tuple[Refused, ...]] = {}
    for host in sorted(roster):
        ack = acks.get(host)
        if host not in hosts and ack is None:
            if not live:
                silent.append(host)
        elif ack is None or goal is None or ack.policy < goal:
            behind[host] = 0 if ack is None else ack.policy
        elif ack.refused:
            refusing[host] = ack.refused
        else:
            current.append(host)
    return Rollout(revision, goal is not None, tuple(current), behind, refusing, tuple(silent))


class Fleet:
    """The keys a rollout is decided from, kept up to date by whoever feeds it items."""

    PREFIXES = (keys.ROSTER, keys.HOSTS, keys.ACK, keys.COMPILED_HEAD, keys.STATUS_CONTROLLER)

    def __init__(self) -> None:
        self.roster: set[str] = set()
        self.hosts: dict[str, bytes] = {}
        self.acks: dict[str, Ack] = {}
        self.head: compiled.Head | None = None
        self.controller: records.ControllerStatus | None = None

    def reset(self, items: Collection[Item]) -> None:
        """Forget everything, then take `items`."""
        self.roster, self.hosts, self.acks, self.head, self.controller = set(), {}, {}, None, None
        for item in items:
            self.take(item.key, item.value)

    def take(self, key: str, value: bytes | None) -> None:
        """One key changed (None: deleted). A value that cannot be read counts as not there, and is logged."""
        try:
            if key.startswith(keys.ROSTER):
                self._take_roster(check_name(key.removeprefix(keys.ROSTER)), value)
            elif key.startswith(keys.HOSTS):
                _keep(self.hosts, check_name(key.removeprefix(keys.HOSTS)), value)
            elif key.startswith(keys.ACK):
                host = check_name(key.removeprefix(keys.ACK))
                _keep(self.acks, host, None if value is None else Ack.decode(value))
            elif key == keys.COMPILED_HEAD:
                self.head = None if value is None else compiled.decode(compiled.Head, value)[0]
            elif key == keys.STATUS_CONTROLLER:
                self.controller = None if value is None else records.decode(records.ControllerStatus, key, value)
        except (InvalidName, InvalidAck, compiled.InvalidCompiled, records.InvalidRecord) as error:
            logger.warning("a key cannot be read", extra={"key": key, "error": str(error)})

    def _take_roster(self, host: str, value: bytes | None) -> None:
        if value is None:
            self.roster.discard(host)
        else:
            self.roster.add(host)

    def rollout(self, revision: int | None = None, *, live: bool = False) -> Rollout:
        """Where the fleet stands on `revision`; without one, on the head."""
        head = self.head.source_revision if self.head else 0
        return rollout(
            roster=self.roster,
            hosts=self.hosts.keys(),
            acks=self.acks,
            head=head,
            seen=self.controller.seen if self.controller else 0,
            revision=head if revision is None else revision,
            live=live,
        )


def _keep(mapping: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value
