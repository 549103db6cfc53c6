"""`Defaults`: what holds where nothing else is said, in a namespace, or mesh-wide in the namespace `mesh`."""

from __future__ import annotations

from typing import Annotated

from policy.documents.fields import Decision, Size, Spec, words
from policy.documents.retry import RetrySpec
from policy.documents.traffic import TrafficFields


class GatewayDefaultsSpec(Spec):
    """For every gateway; only in the namespace `mesh`."""

    max_body: Size | None = None


class DefaultsSpec(Spec):
    """`access` decides only for services without any enforced allow rule."""

    access: Annotated[Decision, words(Decision)] | None = None
    traffic: TrafficFields | None = None
    retry: RetrySpec | None = None
    gateway: GatewayDefaultsSpec | None = None
