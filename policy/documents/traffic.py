"""`Traffic`: how a service is called."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from policy.documents.balance import BalanceSpec, ZoneSpec
from policy.documents.fields import (
    Duration,
    DurationOrNone,
    Name,
    Percentage,
    ServiceText,
    Spec,
    Whole,
    fault,
    no_repeats,
    words,
)
from policy.documents.retry import RetrySpec

ProxyProtocol = Literal["v1", "v2"]


def _factor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fault("wrong_type", "expected a number such as 3 or 2.5")
    if value != 0 and not 1 < value <= 1_000:
        raise fault("out_of_range", f"{value} is no factor: write more than 1 and at most 1000, or 0 for never")
    return float(value)


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
    """Passive health. `consecutive: 0`, `success_below: 0%` and `latency_factor: 0` (the default) mean never."""

    consecutive: Whole | None = None
    success_below: Percentage | None = None
    eject: Duration | None = None
    max_ejected: Percentage | None = None
    latency_factor: Annotated[float, BeforeValidator(_factor)] | None = None


class TrafficFields(Spec):
    """What Traffic and Defaults both say."""

    balance: BalanceSpec | None = None
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
    zone: ZoneSpec | None = None
    slow_start: DurationOrNone | None = None


class TrafficSpec(TrafficFields):
    """One service's traffic; what is left out comes from Defaults.

    `failover`: where requests go while no endpoint of the service is in rotation.
    """

    service: Name
    retry: RetrySpec | None = Field(default=None)
    proxy_protocol: Annotated[ProxyProtocol, words(ProxyProtocol)] | None = None
    """Only of tcp services: requests have fields that say where they come from."""
    failover: list[ServiceText] | None = Field(default=None, max_length=8)

    @model_validator(mode="after")
    def _failover(self) -> TrafficSpec:
        no_repeats("the service", self.failover or [])
        return self

    @model_validator(mode="after")
    def _hashed(self) -> TrafficSpec:
        hashed = self.balance is not None and self.balance.word is None
        for field in ("zone", "slow_start") if hashed else ():
            if field in self.model_fields_set:
                raise fault(
                    "exclusive_fields", f"{field} does nothing where balance goes by a key: keep one of the two"
                )
        return self
