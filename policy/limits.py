"""Limit and Fault documents to the engine's rules.

Pure. Every limit that matches must have room, so the order of limits decides nothing; of the faults, the first that
matches and draws the request acts, in order of age.
"""

from __future__ import annotations

from collections.abc import Iterable

from policy import compiled
from policy.documents.faults import FaultSpec
from policy.documents.limit import LimitRuleSpec, LimitSpec
from policy.documents.route import MatchSpec


def limits(
    documents: Iterable[tuple[str, LimitSpec]], *, namespace: str, requests: bool = True
) -> tuple[compiled.Limit, ...]:
    """The limits of one service or gateway from its documents (name, spec) in order of age.

    `requests`: whether the service has any; where it has none, what looks at them matches no connection and is left out.
    """
    return tuple(
        _limit(document, index, rule, matches)
        for document, spec in documents
        for index, rule in enumerate(spec.rules)
        if (matches := _matches(rule.match, namespace, requests)) is not None
    )


def faults(
    documents: Iterable[tuple[str, FaultSpec]], *, namespace: str, requests: bool = True
) -> tuple[compiled.Fault, ...]:
    """The faults of one service, likewise."""
    return tuple(
        compiled.Fault(
            name=f"{namespace}/{document}",
            until_ms=spec.until,
            matches=matches,
            percent=spec.fraction,
            delay_ms=spec.delay or 0,
            abort=spec.abort or 0,
        )
        for document, spec in documents
        if (matches := _matches(spec.match, namespace, requests)) is not None
    )


def looks_at_requests(match: MatchSpec) -> bool:
    """Whether a match can hold for requests only, never for a connection as such."""
    return bool(match.model_fields_set - {"callers"})


def _matches(written: list[MatchSpec], namespace: str, requests: bool) -> tuple[compiled.Match, ...] | None:
    """None: it matches nothing at all."""
    kept = [match for match in written if requests or not looks_at_requests(match)]
    if written and not kept:
        return None
    return tuple(match.compiled(namespace) for match in kept)


def _limit(document: str, index: int, rule: LimitRuleSpec, matches: tuple[compiled.Match, ...]) -> compiled.Limit:
    count, window = (rule.rate.count, rule.rate.window_ms) if rule.rate else (0, 1_000)
    return compiled.Limit(
        name=f"{document}/{rule.name or index + 1}",
        matches=matches,
        by=rule.by or "everybody",
        rate=count,
        window_ms=window,
        burst=rule.burst or max(1, count * 1_000 // window),
        concurrency=rule.concurrency or 0,
        scope=rule.scope,
    )
