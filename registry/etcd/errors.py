"""What etcd's refusals mean to us. Codes alone do not tell: "full" and "busy" share one, so the text decides."""

from __future__ import annotations

import grpc

from registry.store import (
    CompactedError,
    LeaseLostError,
    NoSpaceError,
    PermissionDeniedError,
    Revision,
    StoreError,
    StoreUnavailableError,
)


class TokenExpiredError(StoreError):
    """The login is no longer good; log in once and try again. Never leaves this package."""

    code = "token_expired"


class LeaseExistsError(StoreError):
    """A lease with this id is there already. Never leaves this package."""

    code = "lease_exists"


class TooLargeError(StoreError):
    """An answer over the receive limit; ask for less at once. Never leaves this package."""

    code = "too_large"


_AGAIN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


def meaning(code: grpc.StatusCode, details: str, *, endpoint: str) -> StoreError:
    """The error that a status stands for, naming the endpoint that gave it."""
    text = details.lower()
    where = f"etcd at {endpoint}: {details or code.name.lower()}"
    if "has been compacted" in text:
        return CompactedError(Revision(0))
    if "lease not found" in text:
        return LeaseLostError(where)
    if "lease already exists" in text:
        return LeaseExistsError(where)
    if "space exceeded" in text:
        return NoSpaceError(f"{where}: compact, defragment and disarm its alarm")
    if "received message larger" in text:
        return TooLargeError(where)
    if "invalid auth token" in text or "revision of auth store is old" in text:
        return TokenExpiredError(where)
    if code is grpc.StatusCode.PERMISSION_DENIED or "authentication failed" in text or "user name is empty" in text:
        return PermissionDeniedError(f"{where}: check etcd.username, etcd.cert_file and the roles they have")
    if code in _AGAIN:
        return StoreUnavailableError(where)
    return StoreError(where)


def was_not_sent(error: StoreError) -> bool:
    """Whether a write that failed so cannot have happened: nobody was connected, or nobody led."""
    text = str(error).lower()
    return isinstance(error, StoreUnavailableError) and any(
        known in text for known in ("failed to connect", "connection refused", "etcdserver: no leader", "not checked")
    )
