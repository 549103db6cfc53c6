"""Where a service's requests go when nobody of it is left: which services, and that none stands in for itself.

Pure. Engines follow the chain from service to service, each by its own Traffic, so that a change of one document changes what
is compiled for one service. They ask each service once, so that two may stand in for each other. A document by which a
service fails over to itself means nothing and is refused, and what it said before stays in force.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeGuard

from policy import compiled
from policy.documents import Document, parse
from policy.documents.targets import resolve_service
from policy.documents.traffic import TrafficSpec
from policy.selection import Choice
from policy.traffic import overlay_traffic
from registry.names import ServiceName


def targets(spec: TrafficSpec, *, namespace: str) -> tuple[ServiceName, ...]:
    """The services a document fails over to, in order, each once."""
    return tuple(dict.fromkeys(resolve_service(text, namespace=namespace) for text in spec.failover or ()))


def traffic_of(base: compiled.Traffic, spec: TrafficSpec, *, namespace: str) -> compiled.Traffic:
    """`base` with all that a Traffic document of `namespace` says."""
    to = targets(spec, namespace=namespace)
    return replace(overlay_traffic(base, spec, spec.retry), failover=tuple(str(name) for name in to))


def without_loops(choices: Sequence[Choice]) -> list[Choice]:
    """The choices with every document refused by which a service fails over to itself."""
    found = list(choices)
    for place, choice in enumerate(found):
        if _is_loop(choice.document):
            found[place] = _refused(choice, found)
    return found


def _is_loop(document: Document | None) -> TypeGuard[Document]:
    if document is None or not isinstance(document.spec, TrafficSpec):
        return False
    namespace = document.key.namespace
    return ServiceName(namespace, document.spec.service) in targets(document.spec, namespace=namespace)


def _refused(choice: Choice, choices: Sequence[Choice]) -> Choice:
    """What is in force instead: the version accepted last, unless it is this one, or somebody else has its place."""
    document = choice.document
    assert document is not None  # it names a service
    said = "the service fails over to itself: take it out of the list"
    error = document.diagnose("failover_loop", said, "spec", "failover")
    refused = replace(choice, state="rejected", errors=(*choice.errors, error), document=None, in_force="none")
    if choice.in_force != "current" or choice.stored.last_good is None:
        return refused
    good = parse(choice.stored.key, choice.stored.last_good.document)
    if not isinstance(good, Document) or not isinstance(good.spec, TrafficSpec) or _is_loop(good):
        return refused
    place = (good.key.namespace, good.spec.service)
    taken = {
        (other.document.key.namespace, other.document.spec.service)
        for other in choices
        if other is not choice and other.document is not None and isinstance(other.document.spec, TrafficSpec)
    }
    return refused if place in taken else replace(refused, document=good, in_force="last-good")
