"""A recording asked again: which of its requests would fare otherwise now, or under other documents. Pure.

A recorded request is asked about where it came in: at a gateway's listener of its kind, at the port its caller has for the
service whose rule it fell under, or at the called engine. What was decided is compared: refused or not, under which rule, to
which service and instances; never what only the moment decided, such as a reset or a full queue.

What a recording does not tell cannot be asked: queries, and fields that `weft tap --field` did not name. A request that fell
under a rule which looks at such a field is not judged.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ops.explain.doors import GATEWAY, identity
from ops.explain.evaluator import Answer, EvaluatorError, Question
from ops.explain.explanation import INBOUND
from ops.explain.world import World
from policy import compiled
from proxy import sections
from proxy.tap import FORMAT
from registry.names import InvalidName, ServiceName, is_name

DECIDED = frozenset({"no_route", "no_endpoint", "denied", "bad_request", "too_large"})
"""Words of `x-weft-reason` that follow from the snapshot; the others follow from the moment."""
MOST = 100_000
"""Requests that are told apart; those beyond are counted."""

Ask = Callable[[World, Question], Answer]


class NotARecordingError(Exception):
    """A file that no `weft tap -o json` wrote."""

    code = "not_a_recording"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as an engine told of it, without what only concerns the moment."""

    direction: str
    source: str
    destination: str
    route: str
    refused: str
    instance: str
    host: str
    method: str
    path: str
    tls: bool
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """What was read: requests that are equal, counted; `passed_over` were too many to be told apart."""

    requests: Mapping[Recorded, int]
    passed_over: int = 0


@dataclass(frozen=True, slots=True)
class Fate:
    """What is decided of a request. `instances` are those that may get it, by service."""

    refused: str = ""
    answered: int = 0
    route: str = ""
    to: frozenset[str] = frozenset()
    instances: frozenset[tuple[str, str]] = frozenset()

    def __str__(self) -> str:
        if self.refused:
            return f"refused {self.refused}"
        under = f", rule {self.route}" if self.route else ""
        if self.answered:
            return f"answered {self.answered}{under}"
        return f"to {', '.join(sorted(self.to)) or 'nobody'}{under}"


@dataclass(frozen=True, slots=True)
class Difference:
    """Requests that would fare otherwise, and how."""

    request: Recorded
    was: str
    would_be: str


@dataclass(slots=True)
class Replayed:
    """What came of a recording; every number counts requests as they were recorded."""

    asked: int = 0
    differ: Counter[Difference] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    """Those that could not be asked about, by why."""


def read(lines: Iterable[str]) -> Recording:
    """The requests of a recording; raises `NotARecordingError`."""
    found: Counter[Recorded] = Counter()
    passed_over = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            if not isinstance(told, dict):
                raise TypeError("no object")
            if number == 1:
                _check(told)
            elif "direction" in told:
                one = _recorded(told)
                if one in found or len(found) < MOST:
                    found[one] += 1
                else:
                    passed_over += 1
        except (ValueError, TypeError, AttributeError) as error:
            raise NotARecordingError(
                f"line {number} is of no recording: {error}: record one with `weft tap -o json > FILE`"
            ) from error
    return Recording(found, passed_over)


def _check(head: Mapping[str, object]) -> None:
    if head.get("weft_tap") != FORMAT:
        raise ValueError(f"its first line says no format {FORMAT}")


def _recorded(told: Mapping[str, object]) -> Recorded:
    def text(name: str) -> str:
        return str(told.get(name, ""))

    fields = told.get("fields")
    reason = text("reason")
    return Recorded(
        direction=text("direction"),
        source=text("source"),
        destination=text("destination"),
        route=text("route"),
        refused=reason if reason in DECIDED else "",
        instance=text("instance"),
        host=text("host"),
        method=text("method"),
        path=text("path"),
        tls=bool(told.get("tls")),
        fields=tuple(sorted((str(name), str(value)) for name, value in fields.items()))
        if isinstance(fields, dict)
        else (),
    )


def pairs(recording: Recording, rules: Mapping[ServiceName, compiled.Service]) -> set[tuple[ServiceName, ServiceName]]:
    """Callers and the services they may have asked for: who was called, and those whose rules lead there."""
    found = set()
    for one in recording.requests:
        if one.direction == "outbound" and is_service(one.source):
            caller = ServiceName.parse(one.source)
            found |= {(caller, service) for service, said in rules.items() if one.route and _leads(said, one)}
            if is_service(one.destination):
                found.add((caller, ServiceName.parse(one.destination)))
        elif one.direction == "inbound" and is_service(one.destination):
            found.add((ServiceName.parse(one.destination), ServiceName.parse(one.destination)))
    return found


def is_service(text: str) -> bool:
    """Whether this is `namespace/name`, and not a gateway, an address or nobody."""
    namespace, slash, name = text.partition("/")
    return bool(slash) and is_name(namespace) and is_name(name)


def replay(
    recording: Recording, *, before: Callable[[Recorded], Fate] | None, now: Callable[[Recorded], Fate]
) -> Replayed:
    """Every request asked again. `before`: what it is compared with, else with what was recorded. A `Fate` that cannot be
    told is raised as `UnknownFateError`.
    """
    found = Replayed()
    for request, count in recording.requests.items():
        try:
            would_be = now(request)
            was = None if before is None else before(request)
        except UnknownFateError as error:
            found.unknown[str(error)] += count
            continue
        found.asked += count
        told = differs(request, would_be) if was is None else _changed(was, would_be)
        if told is not None:
            found.differ[Difference(request, *told)] += count
    if recording.passed_over:
        found.unknown[f"more than {MOST} different requests"] += recording.passed_over
    return found


class UnknownFateError(Exception):
    """This request cannot be asked about; the message says why."""


def differs(request: Recorded, now: Fate) -> tuple[str, str] | None:
    """What was recorded and what would be, if that is not the same."""
    destination = frozenset({request.destination}) if request.destination else frozenset[str]()
    was = Fate(request.refused, 0, request.route, destination)
    if was.refused or now.refused:
        return None if was.refused == now.refused else (str(was), str(now))
    if was.route != now.route:
        return str(was), str(now)
    if now.answered:
        return None
    if request.destination not in now.to:
        return str(was), str(now)
    asked = (request.destination, request.instance)
    if request.instance and now.instances and asked not in now.instances:
        names = sorted(instance for service, instance in now.instances if service == request.destination)
        return f"to {request.instance}", f"to {', '.join(names)} of {request.destination}"
    return None


def _changed(was: Fate, now: Fate) -> tuple[str, str] | None:
    if was.refused and was.refused == now.refused:
        return None
    if (was.refused, was.answered, was.route, was.to) != (now.refused, now.answered, now.route, now.to):
        return str(was), str(now)
    if was.instances != now.instances:
        return tuple(  # type: ignore[return-value]
            f"to {', '.join(sorted(instance for _, instance in fate.instances)) or 'nobody'}" for fate in (was, now)
        )
    return None


@dataclass(frozen=True, slots=True)
class Asking:
    """What recorded requests are asked of: the worlds of a host's engines, or of a store, each with an inbound listener."""

    ask: Ask
    worlds: tuple[World, ...]

    @classmethod
    def of(cls, ask: Ask, worlds: Iterable[World]) -> Asking:
        """Of worlds as they are."""
        return cls(ask, tuple(world.with_inbound() for world in worlds))

    def fate(self, request: Recorded) -> Fate:
        """What is decided of it; raises `UnknownFateError`."""
        try:
            match request.direction:
                case "inbound":
                    world = self._knowing(request.destination)
                    return self._called(world, request, request.source, request.destination, request.path)
                case "gateway":
                    return self._whole(*self._public(request), request)
                case "outbound":
                    return self._whole(*self._outbound(request), request)
        except EvaluatorError as error:
            raise UnknownFateError(str(error)) from error
        raise UnknownFateError(f"{request.direction or 'nothing'} is no direction that can be asked again")

    def _whole(self, world: World, listener: str, request: Recorded) -> Fate:
        """Both engines' part of it."""
        question = Question(
            listener, request.method, request.path, request.host or None, request.fields, lost=10_000, trace=False
        )
        first = self.ask(world, question)
        if request.route and first.route != request.route:
            self._must_be_known(self.ask(world, replace(question, trace=True)), request)
        if first.outcome == "refuse":
            return Fate(first.reason, 0, first.route)
        if first.outcome == "answer":
            return Fate("", first.status, first.route)
        caller = first.source or request.source
        second = self._called(world, request, caller, first.to, first.target or request.path)
        if second.refused:
            return Fate(second.refused, 0, first.route)
        targets = [one for one in first.targets if one.endpoints]
        return Fate(
            route=first.route,
            to=frozenset({first.to, *(one.to for one in targets)}),
            instances=frozenset((one.to, endpoint.instance) for one in targets for endpoint in one.endpoints),
        )

    def _must_be_known(self, traced: Answer, request: Recorded) -> None:
        """Raises where the rule of the recording looks at a field that it does not tell."""
        tried = traced.trace.routes.tried if traced.trace.routes else ()
        told = {name for name, _ in request.fields}
        for one in tried:
            name = (one.by or "").removeprefix("header ")
            if one.rule == request.route and name != one.by and name not in told:
                raise UnknownFateError(f"rule {request.route} looks at {name}: record with `weft tap --field {name}`")

    def _called(self, world: World, request: Recorded, caller: str, service: str, path: str) -> Fate:
        try:
            id_ = identity(caller, world)
        except InvalidName as error:
            raise UnknownFateError(f"{caller or 'nobody'} is no caller whose identity is known") from error
        question = Question(
            INBOUND,
            request.method,
            path,
            request.host or None,
            request.fields,
            id_,
            service,
            request.instance,
            trace=False,
        )
        said = self.ask(world, question)
        # Which instances are here is the moment's: Access was judged before.
        refused = said.reason if said.outcome == "refuse" and said.reason != "draining" else ""
        return Fate(refused, 0, "", frozenset({service}))

    def _public(self, request: Recorded) -> tuple[World, str]:
        wanted = ("https", "tls") if request.tls else ("http",)
        for world in self.worlds:
            for name, listener in world.listeners():
                if not isinstance(listener, sections.Public):
                    continue
                gateway = world.gateway(listener.gateway)
                port = gateway.listeners.get(listener.listener) if gateway else None
                if (
                    port is not None
                    and port.protocol in wanted
                    and (not request.source or request.source == f"{GATEWAY}{listener.gateway}")
                ):
                    return world, name
        raise UnknownFateError("no gateway here has a listener of that kind")

    def _outbound(self, request: Recorded) -> tuple[World, str]:
        """Of the caller's ports the one for whose service there is that rule, else the one for who was called."""
        ports = [
            (world, name, listener.upstream)
            for world in self.worlds
            for name, listener in world.listeners()
            if isinstance(listener, sections.Outbound) and listener.caller == request.source
        ]
        leading = [port for port in ports if port[2] == request.destination]
        ruled = [port for port in ports if request.route and _leads(port[0].service(port[2]), request)]
        for world, name, _ in (*(port for port in ruled if port in leading), *ruled, *leading):
            return world, name
        for world in self.worlds:
            for name, listener in world.listeners():
                if isinstance(listener, sections.Open) and listener.caller == request.source:
                    return world, name
        raise UnknownFateError(f"{request.source or 'nobody'} has no port for {request.destination or 'that'} here")

    def _knowing(self, service: str) -> World:
        for world in self.worlds:
            if f"service/{service}" in world.snapshot:
                return world
        raise UnknownFateError(f"{service} is not known here")


def _leads(rules: compiled.Service | None, request: Recorded) -> bool:
    """Whether a service has the rule under which a request fell, and it leads to where it went."""
    for route in rules.routes if rules else ():
        if route.name == request.route:
            to = route.action.to if isinstance(route.action, compiled.Forward) else ()
            return not request.destination or not to or any(one.service == request.destination for one in to)
    return False
