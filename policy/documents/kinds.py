"""The kinds there are: those that are enforced with their schema, and those that are known and refused by name."""

from __future__ import annotations

from policy.documents.access import AccessSpec
from policy.documents.defaults import DefaultsSpec
from policy.documents.faults import FaultSpec
from policy.documents.fields import Spec
from policy.documents.gateway import GatewaySpec
from policy.documents.limit import LimitSpec
from policy.documents.route import RouteSpec
from policy.documents.traffic import TrafficSpec

AnySpec = RouteSpec | TrafficSpec | AccessSpec | LimitSpec | FaultSpec | GatewaySpec | DefaultsSpec

KINDS: dict[str, type[Spec]] = {
    "Route": RouteSpec,
    "Traffic": TrafficSpec,
    "Access": AccessSpec,
    "Limit": LimitSpec,
    "Fault": FaultSpec,
    "Gateway": GatewaySpec,
    "Defaults": DefaultsSpec,
}
LATER = ("External",)
MESH_WIDE = ("Gateway",)


def kind_of(word: str) -> str | None:
    """`Route` for `route`, `routes`, `Route` or `ROUTE`; None for what is no kind."""
    wanted = word.lower()
    for kind in (*KINDS, *LATER):
        if wanted in (kind.lower(), kind.lower() + "s"):
            return kind
    return None
