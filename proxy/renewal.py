"""When to ask for a certificate again. Pure: the time and the jitter are arguments.

A renewal starts between a third and a half of a certificate's life (DESIGN.md section 5), so that hosts that started
together do not ask together, and a controller can be away for half of a life before anybody notices. Whoever is refused
or finds nobody waits longer each time, up to a quarter of a minute, with jitter.
"""

from __future__ import annotations

from datetime import datetime, timedelta

FIRST_WAIT = 0.1
LONGEST_WAIT = 15.0


def renew_at(issued: datetime, ends: datetime, *, jitter: float) -> datetime:
    """The moment to renew; `jitter` is 0 (a third of the life) to 1 (half of it)."""
    return issued + (ends - issued) * (1 / 3 + jitter / 6)


def retry_wait(failures: int, *, jitter: float) -> timedelta:
    """How long to wait after so many failures in a row (1 and up): half of a doubling wait, and up to as much again."""
    full = min(FIRST_WAIT * 2 ** min(failures - 1, 16), LONGEST_WAIT)
    return timedelta(seconds=full * (0.5 + jitter / 2))


def retry_at(failures: int, *, now: datetime, ends: datetime | None, jitter: float) -> datetime:
    """The moment to ask again after failures; where a certificate that ends is at stake, at least four more times."""
    wait = retry_wait(failures, jitter=jitter)
    if ends is not None and ends > now:
        wait = min(wait, max((ends - now) / 4, timedelta(seconds=FIRST_WAIT)))
    return now + wait
