"""What a host says it serves, and when it says so: PURE.

An ack is due when head advanced, a section is refused or no longer, a certificate changed, or a barrier asks; a newer
registry revision alone is no reason. The first is told at once, then at most one in `SPACING` seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from policy.rollout import Ack, Refused
from policy.rollout import Served as Certificate
from proxy.credentials import Identity
from proxy.engine import Served
from registry.pki.trust import fingerprint, root_of

SPACING = 1.0


@dataclass(frozen=True, slots=True)
class Told:
    """The last ack, when it was told, and the barriers that were there then."""

    ack: Ack | None = None
    at: float = float("-inf")
    barriers: frozenset[str] = frozenset()


def acknowledge(
    served: Served,
    invalid: Mapping[str, str],
    identities: Iterable[Identity],
    *,
    roots: Sequence[bytes] = (),
    chains: Iterable[Sequence[bytes]] = (),
    notes: tuple[str, ...] = (),
) -> Ack:
    """The ack of what an engine serves. `invalid`: compiled keys this host could not read, which it refuses too.

    `roots` are those that the engine believes, `chains` those of every certificate it shows, all DER.
    """
    refused = [Refused(refusal.section, refusal.code, refusal.path) for refusal in served.refused]
    refused += [Refused(key.removeprefix("compiled/"), "invalid_compiled") for key in sorted(invalid)]
    return Ack(
        policy=served.policy,
        registry=served.registry,
        refused=tuple(refused),
        certificates={
            str(identity.id): Certificate(identity.serial, identity.not_after.timestamp()) for identity in identities
        },
        trusts=tuple(sorted(fingerprint(root) for root in roots)),
        under=tuple(sorted({fingerprint(root) for chain in chains if (root := root_of(chain, roots)) is not None})),
        notes=notes,
    )


def due(told: Told, ack: Ack, barriers: frozenset[str], *, now: float) -> float | None:
    """In how many seconds to tell it, 0 for now; None where there is no reason to."""
    if told.ack is not None and replace(ack, registry=told.ack.registry) == told.ack and barriers <= told.barriers:
        return None
    return max(0.0, told.at + SPACING - now)
