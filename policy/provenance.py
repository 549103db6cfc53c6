"""Where every value of a service's traffic and of a rule comes from: a Route's rule, Traffic, Defaults, or what is built in.

Pure. The layers are those that the compiler lays on one another, by its own functions; nothing is said here of what a
document's fields are called. A layer says a value if it changes it, or if it makes two traffics that agree in nothing
agree in that value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from policy import compiled, defaults, failover, routes
from policy.compiled import Traffic
from policy.documents import Document
from policy.documents.defaults import DefaultsSpec
from policy.documents.route import RouteSpec, RuleSpec
from policy.documents.traffic import TrafficSpec
from policy.selection import Stored, select
from registry.keys import DocumentKey
from registry.names import MESH_NAMESPACE, ServiceName

PARTS = (compiled.Retry, compiled.Capacity, compiled.RetryBudget, compiled.Outlier)
"""What is laid together field by field; any other value is said as a whole."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The document that says a value, and of a Route the rule; none: it is built in."""

    document: DocumentKey | None = None
    rule: str = ""

    def __str__(self) -> str:
        if self.document is None:
            return "built in"
        return f"{self.document}, rule {self.rule}" if self.rule else str(self.document)


@dataclass(frozen=True, slots=True)
class Value:
    """What holds, and why."""

    value: object
    origin: Origin


BUILT_IN = Origin()
Layer = tuple[Origin, Callable[[Traffic], Traffic]]
Values = Mapping[str, Value]
"""By the path of the compiled value: `timeout_ms`, `retry.max`."""


class Provenance:
    """The documents in force, as layers."""

    def __init__(self, documents: Sequence[Stored], *, now: float | None = None) -> None:
        self._defaults: dict[str, tuple[DocumentKey, DefaultsSpec]] = {}
        self._traffic: dict[ServiceName, tuple[DocumentKey, TrafficSpec]] = {}
        self._routes: dict[DocumentKey, RouteSpec] = {}
        for choice in failover.without_loops(select(documents, now=now)):
            if choice.document is not None:
                self._take(choice.document)

    def __repr__(self) -> str:
        return (
            f"Provenance(defaults={sorted(self._defaults)}, traffic={len(self._traffic)}, routes={len(self._routes)})"
        )

    def _take(self, document: Document) -> None:
        match document.spec:
            case DefaultsSpec() as spec:
                self._defaults[document.key.namespace] = (document.key, spec)
            case TrafficSpec() as spec:
                self._traffic[ServiceName(document.key.namespace, spec.service)] = (document.key, spec)
            case RouteSpec() as spec:
                self._routes[document.key] = spec

    def traffic(self, service: ServiceName) -> Values:
        """How a service is called."""
        return _traced(self._layers_of(service))

    def rule(self, name: str, *, service: ServiceName | None = None) -> Values:
        """How requests under a rule are timed and retried: of a service, `<document>/<rule>`, else of a gateway,
        `<namespace>/<document>/<rule>`. Nothing where no document in force has that rule.
        """
        head, _, called = name.rpartition("/")
        namespace, document = (service.namespace, head) if service else head.split("/", 1)
        key = DocumentKey(namespace, "route", document)
        spec = self._routes.get(key)
        found = {routes.rule_name(rule, index): rule for index, rule in enumerate(spec.rules if spec else ())}.get(
            called
        )
        if found is None:
            return {}
        base = self._layers_of(service) if service else self._at_gateway(found, namespace)
        values = _traced([*base, (Origin(key, called), lambda traffic: routes.followed(found, traffic))])
        return {path: value for path, value in values.items() if path == "timeout_ms" or path.startswith("retry.")}

    def access(self, namespace: str) -> Value:
        """What decides in a namespace about services without any enforced allow rule."""
        for place in (namespace, MESH_NAMESPACE):
            key, spec = self._defaults.get(place, (None, None))
            if spec is not None and spec.access is not None:
                return Value(spec.access, Origin(key))
        return Value(compiled.Base().access, BUILT_IN)

    def _at_gateway(self, rule: RuleSpec, namespace: str) -> list[Layer]:
        places = routes.targets(rule, namespace=namespace)
        return self._layers_of(next(iter(places))) if len(places) == 1 else self._base(namespace)

    def _layers_of(self, service: ServiceName) -> list[Layer]:
        layers = self._base(service.namespace)
        key, spec = self._traffic.get(service, (None, None))
        if spec is not None:
            said = spec
            layers.append(
                (Origin(key), lambda traffic: failover.traffic_of(traffic, said, namespace=service.namespace))
            )
        return layers

    def _base(self, namespace: str) -> list[Layer]:
        places = dict.fromkeys((MESH_NAMESPACE, namespace))
        return [_default(*self._defaults[place]) for place in places if place in self._defaults]


def _default(key: DocumentKey, spec: DefaultsSpec) -> Layer:
    return Origin(key), lambda traffic: defaults.overlay(compiled.Base(traffic=traffic), spec).traffic


def _traced(layers: Iterable[Layer]) -> dict[str, Value]:
    traffic = Traffic()
    found = {path: Value(value, BUILT_IN) for path, value in leaves(traffic)}
    for origin, lay in layers:
        traffic = lay(traffic)
        one, other = (dict(leaves(lay(probe(number)))) for number in (1, 2))
        for path, value in leaves(traffic):
            if value != found[path].value or one[path] == other[path]:
                found[path] = Value(value, origin)
    return found


def leaves(value: object, above: str = "") -> Iterable[tuple[str, object]]:
    """Every value with its path, those of `PARTS` one by one."""
    for name in getattr(value, "__dataclass_fields__", ()):
        item = getattr(value, name)
        if isinstance(item, PARTS):
            yield from leaves(item, f"{above}{name}.")
        else:
            yield above + name, item


def probe(number: int) -> Traffic:
    """A traffic that agrees in nothing with that of another number. Bounds are so high that none lifts another."""
    high = 10**9 + number
    some = (number,)
    return Traffic(
        balance=compiled.RingHash(compiled.HeaderKey(f"x-{number}")),
        connect_timeout_ms=high,
        timeout_ms=high,
        idle_timeout_ms=high,
        stream_idle_ms=high,
        retry=compiled.Retry(
            max=high,
            undelivered=number % 2 == 0,
            reset=number % 2 == 0,
            statuses=some,
            grpc_statuses=some,
            methods=(str(number),),
            per_try_timeout_ms=high,
            backoff_base_ms=number,
            backoff_max_ms=high,
        ),
        capacity=compiled.Capacity(connections=high, pending=high, requests=high),
        retry_budget=compiled.RetryBudget(percent=high, min=high),
        outlier=compiled.Outlier(
            consecutive=high, success_below=high, eject_ms=high, max_ejected=high, latency_factor=high
        ),
        proxy_protocol="v1" if number % 2 else "v2",
        zone=replace(compiled.ZonePreference(), spill_below=high),
        slow_start_ms=high,
        failover=(f"probe/{number}",),
    )
