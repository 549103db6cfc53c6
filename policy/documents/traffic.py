"""`Traffic`: how a service is called."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from policy.documents.fields import Duration, Name, NotYet, Percentage, Spec, Whole, words
from policy.documents.retry import RetrySpec

Balance = Literal["p2c", "least_request", "round_robin", "random"]
ProxyProtocol = Literal["v1", "v2"]
_LATER = {
    "ring_hash": "use p2c, least_request, round_robin or random",
    "maglev": "use p2c, least_request, round_robin or random",
}


class CapacitySpec(Spec):
    """Bounds towards the service, per engine; 0 means none."""

    connections: Whole | None = None
    pending: Whole | None = None
    requests: Whole | None = None


class RetryBudgetSpec(Spec):
    """The share of active requests that may be retries, and how many always may."""

    ratio: Percentage | None = None
    min: Whole | None = None


class OutlierSpec(Spec):
    """Passive health. `consecutive: 0` and `success_below: 0%` mean never."""

    consecutive: Whole | None = None
    success_below: Percentage | None = None
    eject: Duration | None = None
    max_ejected: Percentage | None = None


class TrafficFields(Spec):
    """What Traffic and Defaults both say."""

    balance: Annotated[Balance, words(Balance, later=_LATER)] | None = None
    connect_timeout: Duration | None = None
    timeout: Duration | None = None
    idle_timeout: Duration | None = None
    stream_idle: Duration | None = None
    capacity: CapacitySpec | None = None
    retry_budget: RetryBudgetSpec | None = None
    outlier: OutlierSpec | None = None
    tls: (
        Annotated[
            Literal["strict"], words(Literal["strict"], later={"permissive": "mesh traffic is always mutual TLS"})
        ]
        | None
    ) = None
    zone: NotYet = None
    slow_start: NotYet = None
    failover: NotYet = None


class TrafficSpec(TrafficFields):
    """One service's traffic; what is left out comes from Defaults."""

    service: Name
    retry: RetrySpec | None = Field(default=None)
    proxy_protocol: Annotated[ProxyProtocol, words(ProxyProtocol)] | None = None
    """Only of tcp services: requests have fields that say where they come from."""
