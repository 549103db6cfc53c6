"""`retry`, wherever it stands: in a Route's rule, in Traffic and in Defaults. Every field may be left out."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from policy.documents.fields import Duration, Method, Spec, fault, text_of

CLASSES = {"retriable-4xx": (409, 425), "gateway-error": (502, 503, 504)}
DELIVERY = ("undelivered", "reset")
GRPC = {"cancelled": 1, "deadline-exceeded": 4, "resource-exhausted": 8, "internal": 13, "unavailable": 14}
"""Codes of gRPC by their names, <https://grpc.io/docs/guides/status-codes/>: those after which a call may work again."""


def _condition(value: object) -> str:
    text = text_of(value)
    if text in DELIVERY or text in CLASSES or text in GRPC:
        return text
    if len(text) == 3 and text.isascii() and text.isdigit() and 400 <= int(text) <= 599:
        return text
    raise fault(
        "unknown_word",
        f'{text!r} is no reason to retry: write {", ".join((*DELIVERY, *CLASSES, *GRPC))} or a status such as "503"',
    )


class BackoffSpec(Spec):
    """Before the first retry, doubling up to the bound, with full jitter."""

    base: Duration | None = None
    max: Duration | None = None


class RetrySpec(Spec):
    """When to try again. `max` counts retries, not tries; 0 means never."""

    max: Annotated[int, Field(strict=True, ge=0, le=10)] | None = None
    retry_on: list[Annotated[str, BeforeValidator(_condition)]] | None = None
    methods: list[Method] | None = None
    per_try_timeout: Duration | None = None
    backoff: BackoffSpec | None = None

    @property
    def statuses(self) -> tuple[int, ...] | None:
        """The statuses that `retry_on` names, in order; None where nothing is said."""
        if self.retry_on is None:
            return None
        named = {int(text) for text in self.retry_on if text.isdigit()}
        return tuple(sorted(named.union(*(CLASSES[text] for text in self.retry_on if text in CLASSES))))

    @property
    def grpc_statuses(self) -> tuple[int, ...] | None:
        """The codes of gRPC that `retry_on` names, in order; None where nothing is said."""
        if self.retry_on is None:
            return None
        return tuple(sorted({GRPC[text] for text in self.retry_on if text in GRPC}))
