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
    documents: Iterable[tuple[str, AccessSpec]], *, namespace: str, default: Decision, closed: bool
) -> compiled.Access:
    """Who may call a service of `namespace`, from its documents (name, spec) in order of age.

    `closed`: a document about this service is broken and never was good, so that what the others do not allow is denied.
    """
    return compiled.Access(
        default="deny" if closed else default,
        rules=tuple(
            _rule(document, index, rule, shadow=spec.mode == "shadow", namespace=namespace)
            for document, spec in documents
            for index, rule in enumerate(spec.rules)
        ),
    )


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
