"""Documents to compiled rules: a pure function of what is stored and of what services there are.

Same input, same bytes. A change of one document leaves what is compiled for services it does not name untouched. Nothing
raises for what a document says: it yields diagnostics, and what was in force stays (`policy.selection`). The time is an
argument, and decides only which faults are refused as ending too late, and which are told to be over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from policy import access, compiled, durations, failover, gateways, passthrough, routes
from policy import limits as limiting
from policy.defaults import base_of
from policy.defaults import mesh as compile_mesh
from policy.diagnostics import Diagnostic, diagnostic
from policy.documents import Document, target_of
from policy.documents.access import AccessSpec
from policy.documents.defaults import DefaultsSpec
from policy.documents.faults import FaultSpec
from policy.documents.gateway import GatewaySpec
from policy.documents.limit import LimitSpec
from policy.documents.route import RouteSpec, RuleSpec, TargetSpec
from policy.documents.traffic import TrafficSpec
from policy.records import DocumentStatus
from policy.selection import Choice, Stored, select
from registry.keys import DocumentKey
from registry.model import Protocol
from registry.names import MESH_NAMESPACE, ServiceName

__all__ = ["Compilation", "ServiceFacts", "Stored", "compile_documents"]


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What compiling needs to know of a service: never its endpoints. `label_keys` are the labels its instances carry.

    `registered` is False for one whose last instance is gone and whose protocol is remembered.
    """

    protocol: Protocol
    label_keys: frozenset[str] = frozenset()
    registered: bool = True


@dataclass(frozen=True, slots=True)
class Compilation:
    """Everything that follows from the documents. `accepted` are those whose current bytes are now the last good ones."""

    services: Mapping[ServiceName, compiled.Service]
    gateways: Mapping[str, compiled.Gateway]
    mesh: compiled.Mesh
    statuses: Mapping[DocumentKey, DocumentStatus]
    accepted: tuple[Stored, ...]
    next_end: float | None = None
    """When the next fault ends, in seconds since the epoch: what is told of it changes then."""


def compile_documents(
    documents: Sequence[Stored], services: Mapping[ServiceName, ServiceFacts], *, now: float | None = None
) -> Compilation:
    """Compile all of `documents` for a mesh in which `services` are registered.

    `now`: seconds since the epoch; without it no fault is refused or told to be over.
    """
    choices = failover.without_loops(select(documents, now=now))
    sorted_out = _SortedOut.of(choices)
    settings = compile_mesh(sorted_out.defaults)
    compiler = _Compiler(sorted_out, settings, services, now)
    return Compilation(
        services={service: compiler.service(service) for service in sorted(sorted_out.named)},
        gateways={name: compiler.gateway(name) for name in sorted(sorted_out.gateways)},
        mesh=settings,
        statuses={choice.stored.key: compiler.status(choice) for choice in choices},
        accepted=tuple(choice.stored for choice in choices if choice.state == "accepted"),
        next_end=min(sorted_out.ends(after=now or 0.0), default=None),
    )


@dataclass(slots=True)
class _SortedOut:
    """The documents in force by what they are about, each list in order of age."""

    defaults: dict[str, DefaultsSpec] = field(default_factory=dict)
    traffic: dict[ServiceName, TrafficSpec] = field(default_factory=dict)
    routes: dict[ServiceName, list[tuple[str, RouteSpec]]] = field(default_factory=lambda: defaultdict(list))
    access: dict[ServiceName, list[tuple[str, AccessSpec]]] = field(default_factory=lambda: defaultdict(list))
    limits: dict[ServiceName, list[tuple[str, LimitSpec]]] = field(default_factory=lambda: defaultdict(list))
    faults: dict[ServiceName, list[tuple[str, FaultSpec]]] = field(default_factory=lambda: defaultdict(list))
    edge_limits: dict[str, list[tuple[str, LimitSpec]]] = field(default_factory=lambda: defaultdict(list))
    gateways: dict[str, GatewaySpec] = field(default_factory=dict)
    edge_routes: dict[str, list[tuple[str, str, RouteSpec]]] = field(default_factory=lambda: defaultdict(list))
    closed: set[ServiceName] = field(default_factory=set)

    @classmethod
    def of(cls, choices: Iterable[Choice]) -> _SortedOut:
        found = cls()
        for choice in choices:
            if choice.document is not None:
                found.add(choice.document)
            elif (service := closed_by(choice)) is not None:
                found.closed.add(service)
        return found

    def add(self, document: Document) -> None:
        key, spec = document.key, document.spec
        match spec:
            case DefaultsSpec():
                self.defaults[key.namespace] = spec
            case GatewaySpec():
                self.gateways[key.name] = spec
            case TrafficSpec():
                self.traffic[ServiceName(key.namespace, spec.service)] = spec
            case AccessSpec():
                self.access[ServiceName(key.namespace, spec.service)].append((key.name, spec))
            case LimitSpec(service=str() as service):
                self.limits[ServiceName(key.namespace, service)].append((key.name, spec))
            case LimitSpec():
                self.edge_limits[str(spec.gateway)].append((key.name, spec))
            case FaultSpec():
                self.faults[ServiceName(key.namespace, spec.service)].append((key.name, spec))
            case RouteSpec(service=str() as service):
                self.routes[ServiceName(key.namespace, service)].append((key.name, spec))
            case RouteSpec():
                self.edge_routes[str(spec.gateway)].append((key.namespace, key.name, spec))

    @property
    def named(self) -> set[ServiceName]:
        """The services some document in force is about."""
        return {*self.traffic, *self.routes, *self.access, *self.limits, *self.faults, *self.closed}

    def ends(self, *, after: float) -> Iterable[float]:
        """When faults end, in seconds since the epoch."""
        ends = (spec.until / 1_000 for faults in self.faults.values() for _, spec in faults)
        return (end for end in ends if end > after)


def closed_by(choice: Choice) -> ServiceName | None:
    """The service that a broken Access without a good version closes, if its target can be read and it is no shadow."""
    if choice.stored.key.kind != "access" or choice.state != "rejected" or choice.in_force != "none":
        return None
    service, shadow = target_of(choice.stored.document)
    return None if service is None or shadow else ServiceName(choice.stored.key.namespace, service)


@dataclass(frozen=True, slots=True)
class _Compiler:
    documents: _SortedOut
    settings: compiled.Mesh
    services: Mapping[ServiceName, ServiceFacts]
    now: float | None

    def traffic_of(self, service: ServiceName) -> compiled.Traffic:
        base = base_of(self.settings, service.namespace).traffic
        spec = self.documents.traffic.get(service)
        return base if spec is None else failover.traffic_of(base, spec, namespace=service.namespace)

    def service(self, service: ServiceName) -> compiled.Service:
        facts = self.services.get(service)
        traffic = self.traffic_of(service)
        protocol = facts.protocol if facts else Protocol.HTTP
        requests = protocol is not Protocol.TCP
        if requests:
            traffic = replace(traffic, proxy_protocol=None)
        documents = self.documents.routes.get(service, ()) if requests else ()
        return compiled.Service(
            protocol=protocol.value,
            routes=routes.of_service(service, documents, traffic),
            traffic=traffic,
            access=access.access(
                self.documents.access.get(service, ()),
                namespace=service.namespace,
                default=base_of(self.settings, service.namespace).access,
                closed=service in self.documents.closed,
                requests=requests,
            ),
            limits=limiting.limits(
                self.documents.limits.get(service, ()), namespace=service.namespace, requests=requests
            ),
            faults=limiting.faults(
                self.documents.faults.get(service, ()), namespace=service.namespace, requests=requests
            ),
        )

    def gateway(self, name: str) -> compiled.Gateway:
        defaults = self.documents.defaults.get(MESH_NAMESPACE)
        of_requests, passed_on = routes.of_gateway(
            self.documents.edge_routes.get(name, ()),
            traffic_of=self.traffic_of,
            base_of=lambda namespace: base_of(self.settings, namespace).traffic,
            is_tcp=self.is_tcp,
        )
        return gateways.gateway(
            self.documents.gateways[name],
            routes=of_requests,
            passthrough=passed_on,
            limits=limiting.limits(self.documents.edge_limits.get(name, ()), namespace=MESH_NAMESPACE),
            max_body=(defaults.gateway.max_body or 0) if defaults and defaults.gateway else 0,
        )

    def is_tcp(self, service: ServiceName) -> bool:
        facts = self.services.get(service)
        return facts is not None and facts.protocol is Protocol.TCP

    def status(self, choice: Choice) -> DocumentStatus:
        closed = closed_by(choice)
        errors = [*choice.errors, *self._broken_access(choice, closed)]
        notes = self._notes(choice.document) if choice.document and choice.in_force == "current" else ()
        return DocumentStatus(
            state=choice.state,
            revision=choice.stored.modified,
            in_force=choice.in_force,
            errors=tuple(error.problem() for error in errors),
            notes=tuple(note.problem() for note in notes),
            applies_to=_applies_to(choice.document) if choice.document else (),
        )

    def _broken_access(self, choice: Choice, closed: ServiceName | None) -> Iterable[Diagnostic]:
        if choice.stored.key.kind != "access" or choice.state != "rejected" or choice.in_force != "none":
            return
        if closed is not None:
            yield diagnostic("closed", f"until it is corrected, {closed} denies what other documents do not allow")
        elif target_of(choice.stored.document)[0] is None:
            yield diagnostic(
                "unprotected", "its target cannot be read, so that it protects nothing: correct it at once"
            )

    def _notes(self, document: Document) -> Iterable[Diagnostic]:
        spec, namespace = document.spec, document.key.namespace
        service = getattr(spec, "service", None)
        if service is not None and self._registered(ServiceName(namespace, service)) is None:
            said = f"nobody has registered the service {namespace}/{service}: the document waits for it"
            yield document.diagnose("matches_nothing", said, "spec", "service")
        elif service is not None:
            yield from self._request_notes(document, ServiceName(namespace, service))
        if isinstance(spec, RouteSpec | LimitSpec) and spec.gateway not in (None, *self.documents.gateways):
            said = f"there is no Gateway {spec.gateway!r} in force in the namespace mesh: the document waits for it"
            yield document.diagnose("unknown_gateway", said, "spec", "gateway")
        if isinstance(spec, RouteSpec):
            yield from self._target_notes(document, spec)
        if isinstance(spec, TrafficSpec):
            yield from self._failover_notes(document, spec)
        if isinstance(spec, FaultSpec) and self.now is not None and spec.until / 1_000 <= self.now:
            said = f"it ended at {durations.format_moment(spec.until)} and breaks nothing any more"
            yield document.diagnose("ended", said, "spec", "until")

    def _failover_notes(self, document: Document, spec: TrafficSpec) -> Iterable[Diagnostic]:
        own = self._registered(ServiceName(document.key.namespace, spec.service))
        for place, service in enumerate(failover.targets(spec, namespace=document.key.namespace)):
            path = ("spec", "failover", place)
            facts = self._registered(service)
            if facts is None:
                yield document.diagnose("unknown_target", f"nobody has registered the service {service}", *path)
            elif own is not None and (own.protocol is Protocol.TCP) != (facts.protocol is Protocol.TCP):
                said = f"{service} speaks {facts.protocol.value}: what is sent to {spec.service} cannot go there"
                yield document.diagnose("other_protocol", said, *path)

    def _request_notes(self, document: Document, service: ServiceName) -> Iterable[Diagnostic]:
        """What looks at requests of a service that has none."""
        if self.services[service].protocol is not Protocol.TCP:
            if isinstance(document.spec, TrafficSpec) and document.spec.proxy_protocol is not None:
                detail = (
                    f"{service} takes requests, many on a connection: x-forwarded-for says where each comes from, "
                    "and only connections to a tcp service begin with a PROXY header"
                )
                yield document.diagnose("never_matches", detail, "spec", "proxy_protocol")
            return
        said = f"{service} is a tcp service: its bytes are no requests that"
        if isinstance(document.spec, RouteSpec):
            yield document.diagnose("never_matches", f"{said} a route could match", "spec", "service")
        if isinstance(document.spec, AccessSpec):
            for index, rule in enumerate(document.spec.rules):
                if access.looks_at_requests(rule):
                    detail = (
                        f"{said} methods or paths could match: the rule matches nobody, and does not open the service"
                    )
                    yield document.diagnose("never_matches", detail, "spec", "rules", index)

        if isinstance(document.spec, LimitSpec):
            for index, limit in enumerate(document.spec.rules):
                for place, match in enumerate(limit.match):
                    if limiting.looks_at_requests(match):
                        yield document.diagnose(
                            "never_matches", f"{said} this could match", "spec", "rules", index, "match", place
                        )
        if isinstance(document.spec, FaultSpec):
            for place, match in enumerate(document.spec.match):
                if limiting.looks_at_requests(match):
                    yield document.diagnose("never_matches", f"{said} this could match", "spec", "match", place)

    def _target_notes(self, document: Document, spec: RouteSpec) -> Iterable[Diagnostic]:
        for index, rule in enumerate(spec.rules):
            passed_on = spec.gateway is not None and passthrough.is_passed_on(
                rule, namespace=document.key.namespace, is_tcp=self.is_tcp
            )
            if passed_on:
                yield from self._connection_notes(document, str(spec.gateway), index, rule)
            places: list[tuple[tuple[str | int, ...], TargetSpec]] = [
                (("to", place), target) for place, target in enumerate(rule.to or ())
            ]
            if rule.mirror is not None:
                places.append((("mirror", "to"), rule.mirror.to))
            for place, target in places:
                service = ServiceName.parse(target.service, namespace=document.key.namespace)
                facts = self._registered(service)
                path = ("spec", "rules", index, *place)
                if facts is None:
                    yield document.diagnose("unknown_target", f"nobody has registered the service {service}", *path)
                    continue
                if facts.protocol is Protocol.TCP and not passed_on:
                    said = f"{service} is a tcp service: no request can be sent to it"
                    yield document.diagnose("never_matches", said, *path)
                for label in sorted(set(target.labels) - facts.label_keys):
                    said = f"no instance of {service} carries a label {label!r}"
                    yield document.diagnose("unknown_label", said, *path, "labels", label)

    def _connection_notes(self, document: Document, name: str, index: int, rule: RuleSpec) -> Iterable[Diagnostic]:
        """What a rule says that leads connections to tcp services, and that no connection has."""
        gateway = self.documents.gateways.get(name)
        path = ("spec", "rules", index)
        if gateway is not None and not passthrough.takes_connections(gateway):
            said = f"it leads to a tcp service, to which only a tls listener leads, and gateway {name!r} has none"
            yield document.diagnose("never_matches", said, *path, "to")
        if passthrough.looks_at_requests(rule):
            said = "it leads to a tcp service, and there is nothing in a connection to match but its server name"
            yield document.diagnose("never_matches", said, *path, "match")
        for field_name in passthrough.without_effect(rule):
            said = f"connections to a tcp service have no {field_name}: it has no effect"
            yield document.diagnose("never_matches", said, *path, field_name)

    def _registered(self, service: ServiceName) -> ServiceFacts | None:
        facts = self.services.get(service)
        return facts if facts is not None and facts.registered else None


def _applies_to(document: Document) -> tuple[str, ...]:
    """The services a document is about, as callers are written; a gateway as `gateway:edge`."""
    spec, namespace = document.spec, document.key.namespace
    match spec:
        case DefaultsSpec():
            return ("*" if namespace == MESH_NAMESPACE else f"{namespace}/*",)
        case GatewaySpec():
            return (f"gateway:{document.key.name}",)
        case RouteSpec(gateway=str() as gateway) | LimitSpec(gateway=str() as gateway):
            return (f"gateway:{gateway}",)
        case _:
            return (f"{namespace}/{spec.service}",)
