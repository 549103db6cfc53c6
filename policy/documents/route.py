"""`Route`: where requests to a service, or to a gateway's hosts, go."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from policy import compiled
from policy.documents.fields import (
    Caller,
    Duration,
    Flag,
    HeaderEditsSpec,
    HeaderName,
    Host,
    Method,
    Name,
    NotYet,
    PathSpec,
    PathText,
    Percentage,
    RewrittenHost,
    ServiceText,
    Spec,
    Text,
    ValueSpec,
    exactly_one,
    fault,
    no_repeats,
    text_of,
    words,
)
from policy.documents.retry import RetrySpec
from policy.documents.targets import resolve_caller

FORWARDING = ("to", "on_empty", "timeout", "retry", "request_headers", "rewrite", "mirror")


class MatchSpec(Spec):
    """All of it must hold; what is left out always does."""

    path: PathSpec | None = None
    methods: list[Method] | None = Field(default=None, min_length=1, max_length=50)
    headers: dict[HeaderName, ValueSpec] = Field(default={}, max_length=50)
    callers: list[Caller] | None = Field(default=None, min_length=1, max_length=500, alias="from")
    query: NotYet = None
    cookies: NotYet = None

    def compiled(self, namespace: str) -> compiled.Match:
        """As the engine compares it, callers resolved for a document of `namespace`."""
        return compiled.Match(
            path=self.path.compiled() if self.path else None,
            methods=tuple(self.methods or ()),
            headers={name: value.compiled() for name, value in self.headers.items()},
            callers=tuple(resolve_caller(caller, namespace=namespace) for caller in self.callers or ()),
        )


class TargetSpec(Spec):
    """One of the places requests go to: a service, or an object where labels or a weight are needed."""

    service: ServiceText
    labels: dict[Text, Text] = Field(default={}, max_length=20)
    weight: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 1

    @model_validator(mode="before")
    @classmethod
    def _string(cls, value: object) -> object:
        return value if isinstance(value, dict) else {"service": text_of(value)}


class MirrorSpec(Spec):
    """A copy of a share of the requests, whose answers nobody hears."""

    to: TargetSpec
    fraction: Percentage = 100.0

    @model_validator(mode="after")
    def _no_weight(self) -> MirrorSpec:
        if "weight" in self.to.model_fields_set:
            raise fault("exclusive_fields", "a copy goes to one place, without a weight: say fraction")
        return self


class RewriteSpec(Spec):
    """Changes on the way: the path prefix (or exact path) that matched, the Host field."""

    path_prefix: PathText | None = None
    host: RewrittenHost | None = None


class RedirectSpec(Spec):
    """Answer with a Location; what is left out is the request's own."""

    scheme: Annotated[Literal["http", "https"], words(Literal["http", "https"])] | None = None
    host: RewrittenHost | None = None
    path: PathText | None = None
    code: Annotated[int, Field(strict=True)] = 302

    @model_validator(mode="after")
    def _somewhere(self) -> RedirectSpec:
        if self.code not in (301, 302, 303, 307, 308):
            raise fault("out_of_range", f"{self.code} redirects nobody: write 301, 302, 303, 307 or 308")
        if self.scheme is None and self.host is None and self.path is None:
            raise fault("missing_field", "a redirect needs scheme, host or path, else it leads to itself")
        return self


class RespondSpec(Spec):
    """Answer at once, as plain text."""

    code: Annotated[int, Field(strict=True, ge=200, le=599)]
    body: Annotated[Text, Field(max_length=65_536)] = ""

    @model_validator(mode="after")
    def _a_body_where_there_may_be_one(self) -> RespondSpec:
        if self.body and self.code in (204, 205, 304):
            raise fault("exclusive_fields", f"an answer with {self.code} has no body: leave it out")
        return self


class RuleSpec(Spec):
    """A match and what then: forward (nothing said), redirect or respond."""

    name: Name | None = None
    match: list[MatchSpec] = Field(default=[], max_length=100)
    to: list[TargetSpec] | None = Field(default=None, min_length=1, max_length=100)
    on_empty: Annotated[Literal["spill", "fail"], words(Literal["spill", "fail"])] | None = None
    timeout: Duration | None = None
    retry: RetrySpec | None = None
    request_headers: HeaderEditsSpec | None = None
    response_headers: HeaderEditsSpec | None = None
    rewrite: RewriteSpec | None = None
    redirect: RedirectSpec | None = None
    respond: RespondSpec | None = None
    allow_encoded_slash: Flag = False
    mirror: MirrorSpec | None = None

    @model_validator(mode="after")
    def _one_action(self) -> RuleSpec:
        answers = [name for name in ("redirect", "respond") if getattr(self, name) is not None]
        others = [name for name in FORWARDING if getattr(self, name) is not None]
        if len(answers) + bool(answers and others) > 1:
            clash = " and ".join(answers + others)
            raise fault("exclusive_fields", f"{clash} cannot stand in one rule: it forwards, redirects or responds")
        if self.to is not None and not sum(target.weight for target in self.to):
            raise fault("out_of_range", "all weights are 0: at least one target must get requests")
        if self.rewrite is not None and self.rewrite.path_prefix is not None and not self._matches_prefixes():
            raise fault(
                "exclusive_fields",
                "rewrite.path_prefix replaces what a path matched: every match needs an exact path or a prefix",
            )
        return self

    def _matches_prefixes(self) -> bool:
        return bool(self.match) and all(match.path is not None and match.path.regex is None for match in self.match)


class RouteSpec(Spec):
    """`service: api`, or `gateway: edge` with `hosts`; and the rules."""

    service: Name | None = None
    gateway: Name | None = None
    hosts: list[Host] | None = Field(default=None, min_length=1, max_length=100)
    rules: list[RuleSpec] = Field(min_length=1, max_length=500)

    @model_validator(mode="after")
    def _service_or_gateway(self) -> RouteSpec:
        exactly_one(self, "service", "gateway")
        no_repeats("the rule name", [rule.name for rule in self.rules if rule.name])
        if self.service is not None and self.hosts is not None:
            raise fault("exclusive_fields", "hosts belong to a gateway's route: a service is called by its name")
        if self.gateway is not None:
            if self.hosts is None:
                raise fault(
                    "missing_field", 'a gateway\'s route needs hosts, such as [shop.example.com], or ["*"] for all'
                )
            if any(rule.to is None and rule.redirect is None and rule.respond is None for rule in self.rules):
                raise fault(
                    "missing_field", "a gateway's rule needs to, redirect or respond: there is no service it belongs to"
                )
        return self
