"""`Fault`: what to break on purpose, for a while."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from policy.documents.fields import Duration, Name, Percentage, Spec, Timestamp, fault
from policy.documents.route import MatchSpec

LONGEST_DELAY = 60_000
"""Milliseconds; a request that waits longer is lost to everybody's time-outs anyway."""

LONGEST_DAYS = 7
"""How far ahead `until` may lie: what is broken on purpose is not forgotten."""


class FaultSpec(Spec):
    """Delays or aborts a share of the requests to a service, until then."""

    service: Name
    match: list[MatchSpec] = Field(default=[], max_length=100)
    fraction: Percentage = 100.0
    delay: Duration | None = None
    abort: Annotated[int, Field(strict=True, ge=400, le=599)] | None = None
    until: Timestamp

    @model_validator(mode="after")
    def _something(self) -> FaultSpec:
        if self.delay is None and self.abort is None:
            raise fault("missing_field", "say delay, abort (a status from 400 to 599), or both")
        if self.delay is not None and self.delay > LONGEST_DELAY:
            raise fault("out_of_range", f"a delay lasts {LONGEST_DELAY // 1000}s at most")
        return self
