"""What of a gateway's rules holds for connections that `tls` listeners pass on, by server name. Pure.

A rule of a gateway's Route that leads to tcp services only is for such connections; every other is for requests. There is
nothing to look at in a connection but its server name, which the route's `hosts` are compared with, and nothing to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from policy import compiled
from policy.documents.gateway import GatewaySpec
from policy.documents.route import MatchSpec, RuleSpec
from policy.documents.targets import resolve_service
from registry.names import ServiceName

IsTcp = Callable[[ServiceName], bool]

_OF_REQUESTS = ("timeout", "request_headers", "response_headers", "rewrite", "allow_encoded_slash")


def is_passed_on(rule: RuleSpec, *, namespace: str, is_tcp: IsTcp) -> bool:
    """Whether a rule is for connections: all of its targets are tcp services."""
    services = [resolve_service(target.service, namespace=namespace) for target in rule.to or ()]
    return bool(services) and all(is_tcp(service) for service in services)


def looks_at_requests(rule: RuleSpec) -> bool:
    """Whether nothing but a request could match it."""
    return bool(rule.match) and all(match != MatchSpec() for match in rule.match)


def without_effect(rule: RuleSpec) -> tuple[str, ...]:
    """The fields it says that a connection has no use for."""
    default = RuleSpec.model_fields
    return tuple(name for name in _OF_REQUESTS if getattr(rule, name) != default[name].default)


def takes_connections(gateway: GatewaySpec) -> bool:
    """Whether any of its listeners passes connections on."""
    return any(listener.protocol == "tls" for listener in gateway.listeners)


def stripped(rules: Iterable[tuple[RuleSpec, compiled.Route]]) -> tuple[compiled.Route, ...]:
    """What is left of rules for connections: hosts, targets, and when to try again."""
    unset = compiled.HeaderEdits()
    return tuple(
        replace(
            route,
            action=replace(route.action, rewrite=compiled.Rewrite()),
            matches=(),
            request_headers=unset,
            response_headers=unset,
            allow_encoded_slash=False,
        )
        for rule, route in rules
        if isinstance(route.action, compiled.Forward) and not looks_at_requests(rule)
    )
