"""Who may speak to the operator API: programs of people on this machine, not pages in their browsers.

The API listens on loopback and asks for no password, so a web page must not reach it. A page of another site is given away
by its `Origin`; a name that was rebound to 127.0.0.1 by its `Host`. Both are refused before any route runs.
"""

from __future__ import annotations

from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ops.api.problems import ProblemError


class LocalOnly:
    """Refuses what a browser sends for another site. `names` are hosts that count as this API's own, beside addresses."""

    def __init__(self, app: ASGIApp, *, names: frozenset[str] = frozenset({"localhost"})) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            refusal = self._judge(headers.get("host", ""), headers.get("origin"))
            if refusal is not None:
                await refusal.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _judge(self, host: str, origin: str | None) -> ProblemError | None:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if not (name in self._names or _is_address(name.strip("[]"))):
            detail = f"this API is asked by address or as localhost, not as {name!r}"
            return ProblemError(status=421, code="wrong_host", title="Wrong host", detail=detail)
        if origin is not None and origin.partition("://")[2] != host:
            detail = f"a page of {origin} may not speak to this API"
            return ProblemError(status=403, code="cross_origin", title="Other origin", detail=detail)
        return None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
