"""What may be concluded from keys that are there, were there, or say goodbye: pure (DESIGN.md section 4, presence).

*Confirmed*: the instance's key is there. *Gone*: a tombstone was seen, or its host's `hosts/` key was written after the
key was lost and the instance is not among what the host registered, or it has been suspect for ten minutes. *Suspect*:
anything else. A suspect stays in rotation while it answers; dropping it after failed probes is the engine's part.

So a burst of lost leases costs nothing, and an agent's death does not unlist services that go on working.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.model import Presence
from registry.store import Revision

FORGET_AFTER = 600.0


@dataclass(frozen=True, slots=True)
class Loss:
    """An instance's key went away without a tombstone: at which revision, and when by the reader's own clock."""

    revision: Revision
    at: float


def presence(loss: Loss | None, *, host_written: Revision | None, now: float) -> Presence:
    """The presence of an instance that had a key. `host_written`: the last write of its host's key, None if it is not there.

    A host writes its own key after its registrations, so one written after the loss says "these are all of mine".
    """
    if loss is None:
        return Presence.CONFIRMED
    if host_written is not None and host_written > loss.revision:
        return Presence.GONE
    if now - loss.at >= FORGET_AFTER:
        return Presence.GONE
    return Presence.SUSPECT
