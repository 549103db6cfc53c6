"""`Limit`: how much of a service, or of a gateway, anybody gets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from policy.documents.fields import Name, Rate, Spec, exactly_one, fault, no_repeats, words
from policy.documents.route import MatchSpec

By = Literal["caller", "address"]
Scope = Literal["host", "mesh"]
Bound = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]


class LimitRuleSpec(Spec):
    """What matches shares one bound, or has one for each caller or client address."""

    name: Name | None = None
    match: list[MatchSpec] = Field(default=[], max_length=100)
    by: Annotated[By, words(By)] | None = None
    rate: Rate | None = None
    burst: Bound | None = None
    concurrency: Bound | None = None
    scope: Annotated[Scope, words(Scope)] = "host"

    @model_validator(mode="after")
    def _some_bound(self) -> LimitRuleSpec:
        if self.rate is None and self.concurrency is None:
            raise fault("missing_field", "say rate, such as 50/s, or concurrency")
        if self.burst is not None and self.rate is None:
            raise fault("missing_field", "burst is how far a rate may be run ahead of: say rate too")
        return self


class LimitSpec(Spec):
    """`service: api`, or `gateway: edge`; every rule that matches must have room."""

    service: Name | None = None
    gateway: Name | None = None
    rules: list[LimitRuleSpec] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _where(self) -> LimitSpec:
        exactly_one(self, "service", "gateway")
        no_repeats("the rule name", [rule.name for rule in self.rules if rule.name])
        for rule in self.rules:
            if self.service is not None and rule.by == "address":
                said = "by: address is for gateways: between services write by: caller, which is proved"
                raise fault("exclusive_fields", said)
            if self.gateway is not None and (rule.by == "caller" or any(match.callers for match in rule.match)):
                said = "clients of a gateway prove nothing: write by: address, and no from"
                raise fault("exclusive_fields", said)
            if self.gateway is not None and rule.scope == "mesh":
                said = "no gateway knows of the others yet: write scope: host, a bound for each of its hosts"
                raise fault("field_not_enforced", said)
        return self
