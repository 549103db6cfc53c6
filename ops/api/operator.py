"""The operator API (7510): the mesh at a glance, documents, tokens. What `weft` calls, and whatever else people write.

Thin: `policy.apply`, `policy.waiting`, `policy.rollout` and `registry.view` decide; this is their HTTP. With etcd away it
answers what this controller knows. Refusals are problem+json.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, Field
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ops.api import shapes
from ops.api.documents import Body, Documents, Length
from ops.api.endpoints import Endpoint, openapi, routes
from ops.api.local import LocalOnly
from ops.api.problems import HANDLED, ProblemError, answer, read_model
from ops.metrics import MEDIA_TYPE, ControllerMetrics
from ops.revoking import forget_host
from policy.rollout import Fleet
from registry import keys
from registry.pki import roster, tokens
from registry.pki.members import Members
from registry.pki.trust import digest
from registry.store import Listing, Store, StoreError
from registry.view import View


class TokenRequest(Body):
    """Who the host may be (`*`, `ns/*`, `ns/service`, `gateway:name`), which host, how often, for how long."""

    services: list[Annotated[str, AfterValidator(roster.check_pattern)]] = Field(min_length=1)
    host: str = tokens.ANY_HOST
    uses: int = Field(default=1, ge=1, le=10_000)
    validity: Length = timedelta(hours=1)


class Operator:
    """What the routes need: the store, what this controller knows, and its metrics."""

    def __init__(
        self,
        *,
        store: Store,
        host: str,
        members: Callable[[], Members],
        metrics: ControllerMetrics,
        root_digest: Callable[[], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._host = host
        self._members = members
        self._metrics = metrics
        self._root_digest = root_digest
        self._clock = clock

    def app(self) -> Starlette:
        """The application behind the port."""
        table = self.endpoints()
        schema = openapi("Weft operator API", table)

        async def published(_: Request) -> Response:
            return JSONResponse(schema)

        described = Endpoint("GET", "/v1/openapi.json", "This document", published)
        return Starlette(
            routes=routes([*table, described]),
            exception_handlers=dict.fromkeys(HANDLED, answer),
            middleware=[Middleware(LocalOnly, names=frozenset({"localhost", self._host}))],
        )

    def endpoints(self) -> Sequence[Endpoint]:
        """The table of the API."""
        return [
            Endpoint("GET", "/healthz", "Whether this controller answers", self.healthz),
            Endpoint("GET", "/metrics", "Metrics in the text format of Prometheus", self.metrics),
            Endpoint("GET", "/v1/status", "The mesh: etcd, leader, policy, hosts, services", self.status),
            *Documents(self._store).endpoints(),
            Endpoint("GET", "/v1/services", "Services with their instances", self.services),
            Endpoint("DELETE", "/v1/hosts/{host}", "Forget a host: it gets no more certificates", self.forget),
            Endpoint("POST", "/v1/tokens", "Make a join token", self.token, body=TokenRequest, success=201),
            Endpoint("GET", "/v1/trust", "The roots that hosts trust", self.trust),
        ]

    async def healthz(self, _: Request) -> Response:
        """It answers; nothing more is said."""
        return Response("ok\n", media_type="text/plain")

    async def metrics(self, _: Request) -> Response:
        """What Prometheus scrapes."""
        return Response(self._metrics.render(), headers={"content-type": MEDIA_TYPE})

    async def status(self, _: Request) -> Response:
        """Everything known; with etcd away, what this controller has, and that etcd is away."""
        mesh = shapes.mesh(self._members(), host=self._host)
        try:
            described = await self._store.describe()
            listing = await self._store.list(*Fleet.PREFIXES, keys.REGISTRY)
        except StoreError as error:
            away = {"available": False, "code": error.code, "detail": str(error)}
            return JSONResponse({**mesh, "etcd": away, "revision": self._members().revision})
        fleet = Fleet()
        fleet.reset([item for item in listing.items if not item.key.startswith(keys.REGISTRY)])
        counts = shapes.service_counts(self._view(listing), now=self._clock())
        return JSONResponse(
            {
                **mesh,
                "etcd": {"available": True, "detail": described},
                "revision": listing.revision,
                **shapes.fleet(fleet),
                "services": counts,
            }
        )

    async def services(self, _: Request) -> Response:
        """Every service with its instances, as of one revision."""
        listing = await self._store.list(keys.REGISTRY, keys.HOSTS)
        found = shapes.services(self._view(listing), now=self._clock())
        return JSONResponse({"revision": listing.revision, "services": found})

    async def forget(self, request: Request) -> Response:
        """Off the roster, and what it serves is revoked."""
        host = request.path_params["host"]
        if await self._store.get(keys.roster(host)) is None:
            raise ProblemError(
                status=404, code="not_found", title="No such host", detail=f"{host} is not on the roster"
            )
        revision, revoked = await forget_host(self._store, host, now=self._clock())
        return JSONResponse({"host": host, "revision": revision, "revoked": list(revoked)})

    async def trust(self, _: Request) -> Response:
        """The roots, with the digests that tokens carry."""
        members = self._members()
        roots = [{"certificate": root, "digest": digest(root)} for root in members.roots]
        return JSONResponse({"roots": roots, "revoked": list(members.revoked)})

    async def token(self, request: Request) -> Response:
        """Only for callers on this machine: a token is a key to the mesh."""
        client = request.client.host if request.client else ""
        if not (client and ip_address(client).is_loopback):
            raise ProblemError(
                status=403,
                code="loopback_only",
                title="Only from this machine",
                detail=f"join tokens are made on the controller's machine, not from {client or 'elsewhere'}",
                fix="run weft token create there",
            )
        body = await read_model(request, TokenRequest)
        made = await tokens.create(
            self._store,
            root_digest=self._root_digest(),
            services=body.services,
            host=body.host,
            uses=body.uses,
            validity=body.validity,
            now=self._clock(),
        )
        expires = self._clock() + body.validity.total_seconds()
        return JSONResponse({"token": made.text, "expires": expires}, status_code=201)

    def _view(self, listing: Listing) -> View:
        items = tuple(item for item in listing.items if item.key.startswith((keys.REGISTRY, keys.HOSTS)))
        return View.empty().relist(Listing(listing.revision, items), now=self._clock())
