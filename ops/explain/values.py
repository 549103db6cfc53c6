"""What holds for a request's tries, as documents write it, and where each value comes from. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from policy import compiled
from policy.documents.retry import GRPC
from policy.durations import format_duration
from policy.provenance import BUILT_IN, Origin, Provenance, Values, leaves
from registry.names import ServiceName

OURS = ("timeout", "retry.max")
"""Told in every case; of the others only what somebody said."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A field as documents call it, its value as they write it, and the document that says so; None: that is not known."""

    name: str
    value: str
    origin: Origin | None

    @property
    def told(self) -> bool:
        """Whether it is worth a line to whoever is in a hurry."""
        return self.name in OURS or (self.value != "none" and self.origin not in (None, BUILT_IN))


@dataclass(frozen=True, slots=True)
class Under:
    """Under which rule a request falls: of a service or, without one, of a gateway; by its name, empty where none matches."""

    rule: str
    service: ServiceName | None


def settings(
    under: Under, route: compiled.Route | None, to: compiled.Service, *, called: ServiceName, known: Provenance | None
) -> tuple[Setting, ...]:
    """All that holds for requests under a rule to a service, in order. `known`: the documents, where they are known."""
    held = to.traffic if route is None else replace(to.traffic, timeout_ms=route.timeout_ms, retry=route.retry)
    values = dict(leaves(held))
    origins = {} if known is None else _origins(under, called, known)
    return (
        *(
            Setting(name, write(*(values[path] for path in paths)), _origin(paths, values, origins))
            for name, paths, write in ROWS
        ),
        _default(to.access.default, called, known),
    )


def _default(default: str, called: ServiceName, known: Provenance | None) -> Setting:
    """What decides where no rule of Access does; a broken document may close a service whatever Defaults say."""
    said = None if known is None else known.access(called.namespace)
    return Setting("access", default, None if said is None or said.value != default else said.origin)


def _origins(under: Under, called: ServiceName, known: Provenance) -> Values:
    return {**known.traffic(called), **(known.rule(under.rule, service=under.service) if under.rule else {})}


def _origin(paths: tuple[str, ...], values: Mapping[str, object], origins: Values) -> Origin | None:
    """None where no document in force says what holds: they have changed since, or cannot be seen."""
    said = [origins.get(path) for path in paths]
    found = [one.origin for path, one in zip(paths, said, strict=True) if one is not None and one.value == values[path]]
    if len(found) < len(paths):
        return None
    return next((origin for origin in found if origin != BUILT_IN), BUILT_IN)


def _length(milliseconds: object) -> str:
    return format_duration(int(str(milliseconds))) if milliseconds else "none"


def _per_try(milliseconds: object) -> str:
    return _length(milliseconds) if milliseconds else "as many as fit the timeout"


def _number(number: object) -> str:
    return str(number) if number else "none"


def _share(percent: object) -> str:
    return f"{float(str(percent)):g}%"


def _listed(items: object) -> str:
    return ", ".join(map(str, items)) if isinstance(items, tuple) and items else "none"


def _retry_on(undelivered: object, reset: object, statuses: object, codes: object) -> str:
    names = {code: name for name, code in GRPC.items()}
    found = [*(["undelivered"] if undelivered else []), *(["reset"] if reset else [])]
    found += [str(status) for status in statuses] if isinstance(statuses, tuple) else []
    found += [names.get(code, str(code)) for code in codes] if isinstance(codes, tuple) else []
    return ", ".join(found) or "none"


def _balance(balance: object) -> str:
    return balance if isinstance(balance, str) else _written(compiled.to_plain(balance))


def _written(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_written(item)}" for name, item in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _zone(zone: object) -> str:
    return f"same, spill below {_share(zone.spill_below)}" if isinstance(zone, compiled.ZonePreference) else "none"


ROWS: tuple[tuple[str, tuple[str, ...], Callable[..., str]], ...] = (
    ("timeout", ("timeout_ms",), _length),
    ("retry.max", ("retry.max",), str),
    (
        "retry.retry_on",
        ("retry.undelivered", "retry.reset", "retry.statuses", "retry.grpc_statuses"),
        _retry_on,
    ),
    ("retry.methods", ("retry.methods",), _listed),
    ("retry.per_try_timeout", ("retry.per_try_timeout_ms",), _per_try),
    ("retry.backoff", ("retry.backoff_base_ms", "retry.backoff_max_ms"), lambda base, most: f"{base}ms to {most}ms"),
    ("retry_budget", ("retry_budget.percent", "retry_budget.min"), lambda of, least: f"{_share(of)}, at least {least}"),
    ("balance", ("balance",), _balance),
    ("zone", ("zone",), _zone),
    ("slow_start", ("slow_start_ms",), _length),
    ("connect_timeout", ("connect_timeout_ms",), _length),
    ("idle_timeout", ("idle_timeout_ms",), _length),
    ("stream_idle", ("stream_idle_ms",), _length),
    ("capacity.connections", ("capacity.connections",), _number),
    ("capacity.pending", ("capacity.pending",), _number),
    ("capacity.requests", ("capacity.requests",), _number),
    ("outlier.consecutive", ("outlier.consecutive",), _number),
    ("outlier.success_below", ("outlier.success_below",), _share),
    ("outlier.eject", ("outlier.eject_ms",), _length),
    ("outlier.max_ejected", ("outlier.max_ejected",), _share),
    ("outlier.latency_factor", ("outlier.latency_factor",), _number),
    ("failover", ("failover",), _listed),
    ("proxy_protocol", ("proxy_protocol",), _number),
)
