"""Access documents to the engine's rules.

Pure. Documents for one service add up, in order of age; deny wins over allow wherever it stands, so their order decides
nothing but what is shown first.
"""

from __future__ import annotations

from collections.abc import Iterable

from policy import compiled
from policy.documents.access import AccessRuleSpec, AccessSpec
from policy.documents.fields import Decision
from policy.documents.targets import resolve_caller


def access(
    documents: Iterable[tuple[str, AccessSpec]], *, namespace: str, default: Decision, closed: bool, requests: bool
) -> compiled.Access:
    """Who may call a service of `namespace`, from its documents (name, spec) in order of age.

    `closed`: a document about this service is broken and never was good, so that what the others do not allow is denied.
    `requests`: whether the service has any. Where it has none, a rule that looks at them can never match; it is left out,
    and if it was enforced, what no other rule allows is denied: whoever wrote it did not mean everybody.
    """
    rules = [
        (spec, rule, _rule(document, index, rule, shadow=spec.mode == "shadow", namespace=namespace))
        for document, spec in documents
        for index, rule in enumerate(spec.rules)
    ]
    lost = [rule for spec, rule, _ in rules if not requests and looks_at_requests(rule) and spec.mode == "enforce"]
    return compiled.Access(
        default="deny" if closed or lost else default,
        rules=tuple(made for _, rule, made in rules if requests or not looks_at_requests(rule)),
    )


def looks_at_requests(rule: AccessRuleSpec) -> bool:
    """Whether a rule can only match requests, never a connection as such."""
    who = rule.allow or rule.deny
    return who is not None and (who.methods is not None or who.paths is not None)


def _rule(document: str, index: int, rule: AccessRuleSpec, *, shadow: bool, namespace: str) -> compiled.Rule:
    who = rule.allow or rule.deny
    assert who is not None  # the schema wants exactly one
    return compiled.Rule(
        name=f"{document}/{rule.name or index + 1}",
        decision="allow" if rule.allow else "deny",
        shadow=shadow,
        callers=tuple(resolve_caller(caller, namespace=namespace) for caller in who.callers or ()),
        methods=tuple(who.methods or ()),
        paths=tuple(path.compiled() for path in who.paths or ()),
    )
