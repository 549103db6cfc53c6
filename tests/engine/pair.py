"""Two hosts with an engine each: web and its listeners on the first, api-1 there too, api-2 on the second."""

from __future__ import annotations

from policy.compiled import Outlier, Retry, Service, Traffic
from tests.engine.client import Door, ask
from tests.engine.mesh import API, Mesh
from tests.support.strict_http import Response

NEVER = Outlier(consecutive=0, success_below=0.0)
FAST = Retry(max=1, backoff_base_ms=1, backoff_max_ms=2)


def serve(pair: Mesh, *, retry: Retry = FAST, outlier: Outlier = NEVER, **traffic: object) -> None:
    """Publish api with this traffic."""
    made = Traffic(balance="round_robin", retry=retry, outlier=outlier, **traffic)  # type: ignore[arg-type]
    pair.services[API] = Service(traffic=made)
    pair.publish()


def only(pair: Mesh, instance: str = "api-2") -> None:
    """One instance, on the other host."""
    pair.endpoints[API] = (pair.endpoint(instance, host=1),)
    pair.publish()


def one(door: Door, request: bytes) -> Response:
    """The only response."""
    (response,) = ask(door, request)
    return response
