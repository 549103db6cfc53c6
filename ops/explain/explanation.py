"""What would become of one request, on both of its engines: put together from what the evaluator says. Pure.

A caller's engine (or a gateway's) chooses the route and the endpoints; the called one judges Access and keeps limits and
faults. Both are asked, the second as the engine of the first endpoint that may get the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ops.explain.doors import GATEWAY, Door, identity
from ops.explain.evaluator import Access, Answer, Endpoint, Question, Target, Tried
from ops.explain.values import Setting, Under, settings
from ops.explain.world import World
from policy import compiled
from policy.durations import format_duration, format_moment
from policy.provenance import Provenance
from proxy import sections
from registry.names import ServiceName

INBOUND = sections.INBOUND.removeprefix("listener/")
Ask = Callable[[World, Question], Answer]


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent."""

    method: str = "GET"
    target: str = "/"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """An instance and how it stands: up, drain, suspect or ejected where it may get requests, else why it does not."""

    instance: str
    host: str
    address: str
    state: str


@dataclass(frozen=True, slots=True)
class Share:
    """Where a part of the requests goes, and what the engines there say."""

    service: str
    labels: dict[str, str]
    percent: float
    candidates: tuple[Seen, ...]
    others: tuple[Seen, ...]
    refused: str = ""
    access: Access | None = None
    limits: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision first; then where it was made, from what, and what holds."""

    outcome: str
    status: int
    reason: str
    detail: str
    caller: str
    service: str
    protocol: str
    method: str
    target: str
    host: str
    listener: str
    address: str
    source: str
    policy: int
    registry: int
    route: str
    tried: tuple[Tried, ...]
    left_out: int
    to: tuple[Share, ...]
    elsewhere: Share | None
    limits: tuple[str, ...]
    sent_target: str
    sent_host: str
    settings: tuple[Setting, ...]
    notes: tuple[str, ...]


def explain(ask: Ask, door: Door, request: Request, *, known: Provenance | None = None) -> Explanation:
    """What would become of it at that door. `known`: the documents in force, where they are known."""
    if door.service:
        return _called_at_once(ask, door, request, known)
    question = Question(door.listener, request.method, request.target, door.host, request.headers)
    first = ask(door.world, question)
    route = _route(door, first)
    shares = [_share(ask, door, question, first, *one) for one in _parts(route, first)]
    other = first.elsewhere
    elsewhere = None if other is None else _share(ask, door, question, first, other, {}, 100.0)
    goes = elsewhere or next((one for one in shares if one.candidates == _seen(door.world, first)), None)
    outcome, status, reason, detail = first.outcome, first.status, first.reason, first.detail or (first.location or "")
    second = None if goes is None else _call(ask, door, question, first, goes)
    if second is not None and second.outcome == "refuse":
        outcome, status, reason, detail = second.outcome, second.status, second.reason, second.detail
    return Explanation(
        outcome=outcome,
        status=status,
        reason=reason,
        detail=detail,
        caller=first.source or door.caller,
        service=first.trace.service or first.destination or first.to,
        protocol=_protocol(door.world, first.trace.service or first.to),
        method=request.method,
        target=request.target,
        host=door.host,
        listener=door.name,
        address=door.address,
        source=door.world.source,
        policy=door.world.policy,
        registry=door.world.registry,
        route=first.route,
        tried=first.trace.routes.tried if first.trace.routes else (),
        left_out=first.trace.routes.left_out if first.trace.routes else 0,
        to=tuple(shares),
        elsewhere=elsewhere,
        limits=_limits(_edge_limits(door), first.trace.limits),
        sent_target=first.target if first.target not in ("", request.target) else "",
        sent_host=first.host or "",
        settings=_settings(door, first, route, known) if first.to else (),
        notes=(*door.notes, *_notes(shares, None if outcome == "refuse" else goes)),
    )


def _called_at_once(ask: Ask, door: Door, request: Request, known: Provenance | None) -> Explanation:
    """Only the called engine: of a caller whose own engine is not known here."""
    world, service = door.world, door.service
    every = tuple(_others(world, service, (), {}))
    question = Question(door.listener, request.method, request.target, door.host, request.headers)
    start = Share(service, {}, 100.0, tuple(one for one in every if not _is_down(one)), tuple(filter(_is_down, every)))
    second = _call(ask, door, question, Answer("forward", source=door.caller), start)
    rules = world.service(service)
    called = ServiceName.parse(service)
    if second is None:
        status, reason, detail = 503, "no_endpoint", f"{service} has no instance that might get it"
    else:
        status, reason, detail = second.status, second.reason, second.detail
    return Explanation(
        outcome="refuse" if second is None else second.outcome,
        status=status,
        reason=reason,
        detail=detail,
        caller=door.caller,
        service=service,
        protocol=_protocol(world, service),
        method=request.method,
        target=request.target,
        host=door.host,
        listener=door.name,
        address=door.address,
        source=world.source,
        policy=world.policy,
        registry=world.registry,
        route="",
        tried=(),
        left_out=0,
        to=(start if second is None else _judged(world, start, second),),
        elsewhere=None,
        limits=(),
        sent_target="",
        sent_host="",
        settings=settings(Under("", called), None, rules, called=called, known=known) if rules else (),
        notes=(*door.notes, f"which way {door.caller} takes is decided by its own engine, and not told here"),
    )


def _call(ask: Ask, door: Door, question: Question, first: Answer, share: Share) -> Answer | None:
    """What the called engine says; None where nobody may get the request."""
    if not share.candidates:
        return None
    at = next((one for one in share.candidates if one.state == "up"), share.candidates[0])
    called = Question(
        INBOUND,
        question.method,
        first.target or question.target,
        first.host or question.host,
        question.headers,
        caller=identity(first.source or door.caller, door.world),
        service=share.service,
        instance=at.instance,
    )
    return ask(door.world.called(share.service, at.host), called)


def _parts(route: compiled.Route | None, first: Answer) -> Iterable[tuple[Target, dict[str, str], float]]:
    """Every target of the rule that gets a part, its labels, and how much it gets in percent."""
    said = route.action.to if route is not None and isinstance(route.action, compiled.Forward) else ()
    if len(said) != len(first.targets):
        said = tuple(compiled.Target(one.to) for one in first.targets)
    total = sum(one.weight for one in said) or 1
    for one, target in zip(said, first.targets, strict=True):
        if one.weight:
            yield target, dict(one.labels), 100 * one.weight / total


def _share(
    ask: Ask, door: Door, question: Question, first: Answer, target: Target, labels: dict[str, str], percent: float
) -> Share:
    world = door.world
    candidates = tuple(_standing(world, target.to, one) for one in target.endpoints)
    others = tuple(_others(world, target.to, candidates, labels))
    share = Share(target.to, labels, percent, candidates, others)
    second = _call(ask, door, question, first, share) if first.way == "mesh" else None
    return share if second is None else _judged(world, share, second)


def _judged(world: World, share: Share, second: Answer) -> Share:
    rules = world.service(share.service)
    return Share(
        share.service,
        share.labels,
        share.percent,
        share.candidates,
        share.others,
        refused=second.reason if second.outcome == "refuse" else "",
        access=second.trace.access,
        limits=_limits(rules.limits if rules else (), second.trace.limits),
        faults=tuple(_fault(one) for one in (rules.faults if rules else ()) if one.name in second.trace.faults),
    )


def _seen(world: World, first: Answer) -> tuple[Seen, ...]:
    return tuple(_standing(world, first.to, one) for one in first.endpoints)


def _standing(world: World, service: str, one: Endpoint) -> Seen:
    out = (service, one.host, one.instance) in world.ejected
    state = "ejected" if out else "suspect" if one.suspect else one.state
    return Seen(one.instance, one.host, one.address, state)


def _others(world: World, service: str, candidates: tuple[Seen, ...], labels: dict[str, str]) -> Iterable[Seen]:
    """Those that get nothing, and why."""
    asked = {(one.host, one.instance) for one in candidates}
    for one in world.endpoints(service):
        if (one.host, one.instance) in asked:
            continue
        lacks = [f"{label}={one.labels.get(label, '')}" for label in labels if one.labels.get(label) != labels[label]]
        out = (service, one.host, one.instance) in world.ejected
        state = ", ".join(lacks) or ("ejected" if out else "suspect" if one.suspect else one.state)
        yield Seen(one.instance, one.host, one.address, state)


def _is_down(one: Seen) -> bool:
    return one.state == "down"


def _notes(shares: list[Share], goes: Share | None) -> Iterable[str]:
    for one in shares:
        if one.refused and goes is not None and one is not goes:
            yield f"{one.percent:g}% go to {one.service}, which refuses: {one.refused}"
        if not one.candidates and len(shares) > 1:
            yield f"nobody takes the {one.percent:g}% of {_labelled(one)}: they go to the other targets"
    ejected = sorted({seen.instance for one in shares for seen in one.candidates if seen.state == "ejected"})
    if ejected:
        yield f"ejected, and asked only to see whether they answer again: {', '.join(ejected)}"


def _labelled(share: Share) -> str:
    return " ".join([share.service, *(f"{label}={value}" for label, value in share.labels.items())])


def _protocol(world: World, service: str) -> str:
    rules = world.service(service)
    return rules.protocol if rules else "http"


def _route(door: Door, first: Answer) -> compiled.Route | None:
    if door.caller.startswith(GATEWAY):
        gateway = door.world.gateway(door.caller.removeprefix(GATEWAY))
        routes = gateway.routes if gateway else ()
    else:
        rules = door.world.service(first.trace.service)
        routes = rules.routes if rules else ()
    return next((route for route in routes if route.name == first.route), None)


def _settings(door: Door, first: Answer, route: compiled.Route | None, known: Provenance | None) -> tuple[Setting, ...]:
    rules = door.world.service(first.to)
    if rules is None:
        return ()
    called = ServiceName.parse(first.to)
    routed = ServiceName.parse(first.trace.service) if first.trace.service else None
    return settings(Under(first.route, routed), route, rules, called=called, known=known)


def _edge_limits(door: Door) -> tuple[compiled.Limit, ...]:
    if not door.caller.startswith(GATEWAY):
        return ()
    gateway = door.world.gateway(door.caller.removeprefix(GATEWAY))
    return gateway.limits if gateway else ()


def _limits(rules: Iterable[compiled.Limit], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_limit(one) for one in rules if one.name in names)


def _limit(limit: compiled.Limit) -> str:
    parts = []
    if limit.rate:
        unit = {1_000: "s", 60_000: "m", 3_600_000: "h"}.get(limit.window_ms, f"{limit.window_ms}ms")
        parts.append(f"{limit.rate}/{unit}, burst {limit.burst}")
    if limit.concurrency:
        parts.append(f"{limit.concurrency} at a time")
    by = "" if limit.by == "everybody" else f" by {limit.by}"
    return f"{limit.name}: {', '.join(parts)}{by}"


def _fault(fault: compiled.Fault) -> str:
    what = [f"delay {format_duration(fault.delay_ms)}"] if fault.delay_ms else []
    what += [f"abort {fault.abort}"] if fault.abort else []
    return f"{fault.name}: {fault.percent:g}% {', '.join(what)} until {format_moment(fault.until_ms)}"
