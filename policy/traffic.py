"""How a service is called, laid together field by field: built in, Defaults, Traffic, and a Route's rule on top.

Pure. Each layer changes only what it says; `compiled.Traffic()` holds what is built in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from policy import compiled
from policy.documents.balance import ZoneSpec
from policy.documents.retry import RetrySpec
from policy.documents.traffic import TrafficFields, TrafficSpec

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    T = TypeVar("T", bound=DataclassInstance)


def _overlay(base: T, **said: object) -> T:
    """`base` with what is said; None means nothing was."""
    return replace(base, **{name: value for name, value in said.items() if value is not None})


def overlay_retry(base: compiled.Retry, spec: RetrySpec | None) -> compiled.Retry:
    """`base` with what `spec` says. `retry_on` replaces the whole list; the back-off's bound is never below its base."""
    if spec is None:
        return base
    retry = _overlay(
        base,
        max=spec.max,
        undelivered=None if spec.retry_on is None else "undelivered" in spec.retry_on,
        reset=None if spec.retry_on is None else "reset" in spec.retry_on,
        statuses=spec.statuses,
        grpc_statuses=spec.grpc_statuses,
        methods=None if spec.methods is None else tuple(sorted(set(spec.methods))),
        per_try_timeout_ms=spec.per_try_timeout,
        backoff_base_ms=spec.backoff.base if spec.backoff else None,
        backoff_max_ms=spec.backoff.max if spec.backoff else None,
    )
    return replace(retry, backoff_max_ms=max(retry.backoff_base_ms, retry.backoff_max_ms))


def _overlay_zone(base: compiled.ZonePreference | None, spec: ZoneSpec | None) -> compiled.ZonePreference | None:
    if spec is None:
        return base
    if spec.prefer == "any":
        return None
    return _overlay(base or compiled.ZonePreference(), spill_below=spec.spill_below)


def overlay_traffic(
    base: compiled.Traffic, fields: TrafficFields | None, retry: RetrySpec | None = None
) -> compiled.Traffic:
    """`base` with what a Traffic or a Defaults document says."""
    base = replace(base, retry=overlay_retry(base.retry, retry))
    if fields is None:
        return base
    base = replace(base, zone=_overlay_zone(base.zone, fields.zone))
    capacity, budget, outlier = fields.capacity, fields.retry_budget, fields.outlier
    return _overlay(
        base,
        balance=fields.balance and fields.balance.compiled(),
        connect_timeout_ms=fields.connect_timeout,
        timeout_ms=fields.timeout,
        idle_timeout_ms=fields.idle_timeout,
        stream_idle_ms=fields.stream_idle,
        proxy_protocol=fields.proxy_protocol if isinstance(fields, TrafficSpec) else None,
        capacity=capacity
        and _overlay(
            base.capacity, connections=capacity.connections, pending=capacity.pending, requests=capacity.requests
        ),
        retry_budget=budget and _overlay(base.retry_budget, percent=budget.ratio, min=budget.min),
        outlier=outlier
        and _overlay(
            base.outlier,
            consecutive=outlier.consecutive,
            success_below=outlier.success_below,
            eject_ms=outlier.eject,
            max_ejected=outlier.max_ejected,
            latency_factor=outlier.latency_factor,
        ),
        slow_start_ms=fields.slow_start,
    )
