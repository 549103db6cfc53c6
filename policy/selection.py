"""Which version of each document is in force: the current one, the last good one, or none.

Pure. Documents are taken in order of age, because the older of two that claim the same thing stands (one Traffic for a
service, one Defaults for a namespace). What cannot be used, because it is broken, part of an unfinished set or shadowed,
leaves its last good version in force.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from policy import durations
from policy.diagnostics import Diagnostic, diagnostic
from policy.documents import Document, parse
from policy.documents.defaults import DefaultsSpec
from policy.documents.faults import LONGEST_DAYS, FaultSpec
from policy.documents.traffic import TrafficSpec
from policy.records import InForce, LastGood, State
from registry.keys import DocumentKey


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as the store holds it: its own bytes, when it was made and changed, and what was last accepted.

    `held`: it belongs to a set that is not complete; `expired`: and will not be, unless it is applied again.
    """

    key: DocumentKey
    document: bytes
    created: int
    modified: int
    last_good: LastGood | None = None
    held: bool = False
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided about one document. `document` is the version in force, if any."""

    stored: Stored
    state: State
    in_force: InForce
    document: Document | None
    errors: tuple[Diagnostic, ...] = field(default=())


Claim = tuple[str, str, str]
_LONGEST = LONGEST_DAYS * 86_400


def select(documents: Iterable[Stored], *, now: float | None = None) -> list[Choice]:
    """One choice for every document, in order of age. `now` is when faults are judged by their end, if they are."""
    claims: dict[Claim, DocumentKey] = {}
    return [
        _choose(stored, claims, now) for stored in sorted(documents, key=lambda stored: (stored.created, stored.key))
    ]


def _choose(stored: Stored, claims: dict[Claim, DocumentKey], now: float | None) -> Choice:
    state, errors, current = _judge(stored, claims, now)
    if current is not None:
        _claim(current, claims)
        return Choice(stored, state, "current", current)
    good = parse(stored.key, stored.last_good.document) if stored.last_good else ()
    if isinstance(good, Document) and _holder(good, claims) is None:
        _claim(good, claims)
        return Choice(stored, state, "last-good", good, errors)
    return Choice(stored, state, "none", None, errors)


def _judge(
    stored: Stored, claims: dict[Claim, DocumentKey], now: float | None
) -> tuple[State, tuple[Diagnostic, ...], Document | None]:
    """The state of the current bytes, why they are not accepted, and what they say if they are."""
    if stored.held:
        said = (
            "the set this document was applied with was not finished within 60 s: apply it again to complete it"
            if stored.expired
            else "the set this document belongs to is still being written"
        )
        return "incomplete", (diagnostic("incomplete", said),), None
    current = parse(stored.key, stored.document)
    if not isinstance(current, Document):
        return "rejected", current, None
    holder = _holder(current, claims)
    if holder is not None:
        what = f"service {current.spec.service!r}" if isinstance(current.spec, TrafficSpec) else "this namespace"
        said = f"{holder} is older and already says how {what} is treated: delete one of the two, or merge them"
        return "shadowed", (current.diagnose("shadowed", said, "spec"),), None
    if isinstance(current.spec, FaultSpec) and now is not None and current.spec.until / 1_000 > now + _LONGEST:
        latest = durations.format_moment(int((now + _LONGEST) * 1_000))
        said = f"a fault lasts {LONGEST_DAYS} days at most: write until {latest} or earlier"
        return "rejected", (current.diagnose("too_far_ahead", said, "spec", "until"),), None
    return "accepted", (), current


def _claim_of(document: Document) -> Claim | None:
    if isinstance(document.spec, TrafficSpec):
        return (document.key.namespace, document.kind, document.spec.service)
    if isinstance(document.spec, DefaultsSpec):
        return (document.key.namespace, document.kind, "")
    return None


def _claim(document: Document, claims: dict[Claim, DocumentKey]) -> None:
    claim = _claim_of(document)
    if claim is not None:
        claims[claim] = document.key


def _holder(document: Document, claims: dict[Claim, DocumentKey]) -> DocumentKey | None:
    """The older document that already claims what this one says, if any."""
    claim = _claim_of(document)
    return None if claim is None else claims.get(claim)
