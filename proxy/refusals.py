"""What an engine refused, and what it is given instead: PURE.

One bad section holds back nothing else: in place of a section that was refused the engine keeps the one it last accepted.
A service it never had gets an Access that denies; anything else it never had is left out. Where what it accepted last is
what crashed it, it gets what it accepted before that. A refusal lasts as long as the bytes that were refused are what we
would send.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from policy.compiled import Access, Service
from proxy.sections import encode
from proxy.snapshot import Snapshot

DENIED = encode(Service(access=Access(default="deny")))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A section's bytes that an engine would not take, and what it said: a permanent code, a place, a message."""

    section: str
    code: str
    path: str
    message: str
    value: bytes
    substitutes_refused: int = 0


def refuse(refusals: Mapping[str, Refusal], desired: Snapshot, refusal: Refusal) -> dict[str, Refusal]:
    """The refusals after one more; of a section already refused, it was the substitute that the engine would not take."""
    before = refusals.get(refusal.section)
    if before is not None and before.value == desired.get(refusal.section):
        refusal = replace(before, substitutes_refused=before.substitutes_refused + 1)
    return {**refusals, refusal.section: refusal}


def standing(refusals: Mapping[str, Refusal], desired: Snapshot) -> dict[str, Refusal]:
    """The refusals of what is still desired; the others are answered by a change."""
    return {name: refusal for name, refusal in refusals.items() if desired.get(name) == refusal.value}


def instead(
    desired: Snapshot, accepted: Snapshot, refusals: Mapping[str, Refusal], *, before: Snapshot | None = None
) -> Snapshot:
    """What to send: `desired`, with every refused section as it was last accepted, as `before` that, denied, or left out."""
    sent = dict(desired)
    for name, refusal in standing(refusals, desired).items():
        had = (accepted.get(name), (before or {}).get(name))
        substitutes = _substitutes(name, refusal, had)[refusal.substitutes_refused :]
        if substitutes:
            sent[name] = substitutes[0]
        else:
            del sent[name]
    return sent


def _substitutes(name: str, refusal: Refusal, had: Sequence[bytes | None]) -> list[bytes]:
    found = list(dict.fromkeys(one for one in had if one is not None and one != refusal.value))
    if name.startswith("service/") and DENIED not in (refusal.value, *found):
        found.append(DENIED)
    return found
