"""Where a service's requests go when nobody of it is left: which services, and that no chain of them comes back.

Pure. Engines follow the chain from service to service, each by its own Traffic, so that a change of one document changes what
is compiled for one service. A chain that comes back would never end well: of the documents that close it, the one
changed last is refused, and what it said before stays in force.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
    """The choices with every document refused that closes a loop of failovers."""
    found = list(choices)
    while (closing := _closing(found)) is not None:
        place, loop = closing
        found[place] = _refused(found[place], loop, found)
    return found


@dataclass(frozen=True, slots=True)
class _Said:
    place: int
    to: tuple[ServiceName, ...]


def _closing(choices: Sequence[Choice]) -> tuple[int, list[ServiceName]] | None:
    """The document changed last among those of a loop, by its place, and the loop from its service on."""
    graph = _graph(choices)
    loops = ((said.place, loop) for service, said in graph.items() if (loop := _loop(service, graph)))
    return max(loops, key=lambda one: (choices[one[0]].stored.modified, choices[one[0]].stored.key), default=None)


def _graph(choices: Sequence[Choice]) -> dict[ServiceName, _Said]:
    found = {}
    for place, choice in enumerate(choices):
        document = choice.document
        if document is not None and isinstance(document.spec, TrafficSpec) and document.spec.failover:
            namespace = document.key.namespace
            service = ServiceName(namespace, document.spec.service)
            found[service] = _Said(place, targets(document.spec, namespace=namespace))
    return found


def _loop(start: ServiceName, graph: Mapping[ServiceName, _Said]) -> list[ServiceName]:
    """The way from `start` back to it; empty where there is none."""
    before: dict[ServiceName, ServiceName] = {}
    waiting = [start]
    while waiting:
        at = waiting.pop()
        for to in graph[at].to if at in graph else ():
            if to == start:
                way = [start, at]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1] if at != start else [start, start]
            if to not in before:
                before[to] = at
                waiting.append(to)
    return []


def _refused(choice: Choice, loop: Sequence[ServiceName], choices: Sequence[Choice]) -> Choice:
    """What is in force instead: the version accepted last, unless it is this one, or somebody else has its place."""
    document = choice.document
    assert document is not None  # what is in a loop says something
    way = " to ".join(str(service) for service in loop)
    said = f"the failover comes back: from {way}; take one of them out of a list"
    error = document.diagnose("failover_loop", said, "spec", "failover")
    refused = replace(choice, state="rejected", errors=(*choice.errors, error), document=None, in_force="none")
    if choice.in_force != "current" or choice.stored.last_good is None:
        return refused
    good = parse(choice.stored.key, choice.stored.last_good.document)
    if not isinstance(good, Document) or not isinstance(good.spec, TrafficSpec):
        return refused
    place = (good.key.namespace, good.spec.service)
    taken = {
        (other.document.key.namespace, other.document.spec.service)
        for other in choices
        if other is not choice and other.document is not None and isinstance(other.document.spec, TrafficSpec)
    }
    return refused if place in taken else replace(refused, document=good, in_force="last-good")
