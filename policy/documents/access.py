"""`Access`: who may call a service, enforced or in shadow."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from policy.documents.fields import Caller, Method, Name, PathSpec, Spec, exactly_one, fault, no_repeats, words

Mode = Literal["enforce", "shadow"]


class WhoSpec(Spec):
    """Whom a rule is about; all of what is said must hold."""

    callers: list[Caller] | None = Field(default=None, min_length=1, max_length=500, alias="from")
    methods: list[Method] | None = Field(default=None, min_length=1, max_length=50)
    paths: list[PathSpec] | None = Field(default=None, min_length=1, max_length=100)

    @model_validator(mode="after")
    def _somebody(self) -> WhoSpec:
        if self.callers is None and self.methods is None and self.paths is None:
            raise fault("missing_field", 'say from, methods or paths; from: ["*"] is everybody')
        return self


class AccessRuleSpec(Spec):
    """`allow` or `deny`."""

    name: Name | None = None
    allow: WhoSpec | None = None
    deny: WhoSpec | None = None

    @model_validator(mode="after")
    def _one(self) -> AccessRuleSpec:
        exactly_one(self, "allow", "deny")
        return self


class AccessSpec(Spec):
    """Deny wins over allow; in shadow nothing is decided and everything counted."""

    service: Name
    mode: Annotated[Mode, words(Mode)] = "enforce"
    rules: list[AccessRuleSpec] = Field(min_length=1, max_length=500)

    @model_validator(mode="after")
    def _names(self) -> AccessSpec:
        no_repeats("the rule name", [rule.name for rule in self.rules if rule.name])
        return self
