"""Route documents to the engine's rules.

Pure. Precedence among rules is the engine's (it looks at paths, methods and headers); here each rule gets the `rank` that
breaks ties: documents by age, then by key, then the rule's place in its document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count

from policy import compiled, passthrough
from policy.documents.route import MirrorSpec, RouteSpec, RuleSpec
from policy.documents.targets import resolve_service
from policy.traffic import overlay_retry
from registry.names import ServiceName

TrafficOf = Callable[[ServiceName], compiled.Traffic]


def of_service(
    service: ServiceName, documents: Iterable[tuple[str, RouteSpec]], traffic: compiled.Traffic
) -> tuple[compiled.Route, ...]:
    """The rules of one service from its documents (name, spec) in order of age."""
    ranks = count()
    return tuple(
        _route(document, index, rule, rank=next(ranks), namespace=service.namespace, traffic=traffic, own=service)
        for document, spec in documents
        for index, rule in enumerate(spec.rules)
    )


def of_gateway(
    documents: Iterable[tuple[str, str, RouteSpec]],
    *,
    traffic_of: TrafficOf,
    base_of: Callable[[str], compiled.Traffic],
    is_tcp: passthrough.IsTcp,
) -> tuple[tuple[compiled.Route, ...], tuple[compiled.Route, ...]]:
    """The rules of one gateway from its documents (namespace, name, spec) in order of age: for requests, and for connections.

    A rule that leads to one service is timed and retried as that service's Traffic says; any other as Defaults say.
    """
    ranks = count()
    routes, passed_on = [], []
    for namespace, document, spec in documents:
        for index, rule in enumerate(spec.rules):
            places = targets(rule, namespace=namespace)
            traffic = traffic_of(next(iter(places))) if len(places) == 1 else base_of(namespace)
            route = _route(
                f"{namespace}/{document}",
                index,
                rule,
                rank=next(ranks),
                namespace=namespace,
                traffic=traffic,
                hosts=() if "*" in (spec.hosts or ()) else tuple(spec.hosts or ()),
            )
            if passthrough.is_passed_on(rule, namespace=namespace, is_tcp=is_tcp):
                passed_on.append((rule, route))
            else:
                routes.append(route)
    return tuple(routes), passthrough.stripped(passed_on)


def rule_name(rule: RuleSpec, index: int) -> str:
    """What a rule is called within its document: as it says, else by its place."""
    return rule.name or str(index + 1)


def followed(rule: RuleSpec, traffic: compiled.Traffic) -> compiled.Traffic:
    """`traffic` with what a rule says of its own requests on top."""
    timeout_ms = traffic.timeout_ms if rule.timeout is None else rule.timeout
    return replace(traffic, timeout_ms=timeout_ms, retry=overlay_retry(traffic.retry, rule.retry))


def targets(rule: RuleSpec, *, namespace: str) -> frozenset[ServiceName]:
    """The services a rule sends requests to by name, copies aside."""
    return frozenset(resolve_service(target.service, namespace=namespace) for target in rule.to or ())


def _route(
    document: str,
    index: int,
    rule: RuleSpec,
    *,
    rank: int,
    namespace: str,
    traffic: compiled.Traffic,
    own: ServiceName | None = None,
    hosts: tuple[str, ...] = (),
) -> compiled.Route:
    own_traffic = followed(rule, traffic)
    return compiled.Route(
        name=f"{document}/{rule_name(rule, index)}",
        rank=rank,
        action=_action(rule, namespace, own),
        matches=tuple(match.compiled(namespace) for match in rule.match),
        hosts=hosts,
        timeout_ms=own_traffic.timeout_ms,
        retry=own_traffic.retry,
        request_headers=rule.request_headers.compiled() if rule.request_headers else compiled.HeaderEdits(),
        response_headers=rule.response_headers.compiled() if rule.response_headers else compiled.HeaderEdits(),
        allow_encoded_slash=rule.allow_encoded_slash,
    )


def _action(
    rule: RuleSpec, namespace: str, own: ServiceName | None
) -> compiled.Forward | compiled.Redirect | compiled.Respond:
    if rule.redirect is not None:
        redirect = rule.redirect
        return compiled.Redirect(scheme=redirect.scheme, host=redirect.host, path=redirect.path, code=redirect.code)
    if rule.respond is not None:
        return compiled.Respond(code=rule.respond.code, body=rule.respond.body)
    to = tuple(
        compiled.Target(
            service=str(resolve_service(target.service, namespace=namespace)),
            weight=target.weight,
            labels=dict(target.labels),
        )
        for target in rule.to or ()
    )
    rewrite = compiled.Rewrite(rule.rewrite.path_prefix, rule.rewrite.host) if rule.rewrite else compiled.Rewrite()
    return compiled.Forward(
        to=to or (compiled.Target(service=str(own)),),
        on_empty=rule.on_empty or "spill",
        rewrite=rewrite,
        mirror=_mirror(rule.mirror, namespace) if rule.mirror else None,
    )


def _mirror(mirror: MirrorSpec, namespace: str) -> compiled.Mirror:
    return compiled.Mirror(
        service=str(resolve_service(mirror.to.service, namespace=namespace)),
        labels=dict(mirror.to.labels),
        percent=mirror.fraction,
    )
