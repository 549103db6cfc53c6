"""The port for hosts (7520): a token in, a host on the roster out; a CSR in, a certificate out.

TLS 1.3 with the controller's identity. `POST /v1/join` is for those who have no certificate yet; everything else wants a
host's. The decisions are `registry.pki.issuer`'s; this is their HTTP.
"""

from __future__ import annotations

import logging

from pydantic import BaseModel, ConfigDict, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ops.api.problems import HANDLED, ProblemError, read_model, to_problem
from ops.api.server import PEER
from ops.metrics import ControllerMetrics
from registry.names import InvalidName
from registry.pki.errors import IdentityRefusedError
from registry.pki.issuer import Issuer, Peer

logger = logging.getLogger(__name__)


class JoinRequest(BaseModel):
    """With nothing in it: a question for the CA. With all three: a host that wants to join."""

    model_config = ConfigDict(extra="forbid")

    token: str | None = Field(default=None, max_length=256)
    host: str | None = Field(default=None, max_length=63)
    csr: str | None = None


class SignRequest(BaseModel):
    """A PEM request whose only name is the SPIFFE ID asked for."""

    model_config = ConfigDict(extra="forbid")

    csr: str


def hosts_app(issuer: Issuer, metrics: ControllerMetrics | None = None) -> Starlette:
    """The application behind the port."""

    def mesh() -> dict[str, object]:
        return {
            "trust": list(issuer.roots),
            "trust_domain": issuer.mesh.trust_domain,
            "datacenter": issuer.mesh.datacenter,
        }

    def count_signed(kind: str) -> None:
        if metrics is not None:
            metrics.signed.labels(kind).inc()

    async def refuse(request: Request, error: Exception) -> Response:
        problem = to_problem(error)
        if metrics is not None:
            metrics.refused.labels(problem.code).inc()
        peer = request.scope.get(PEER)
        who = str(peer.identity) if isinstance(peer, Peer) else ""
        logger.warning("host refused", extra={"peer": who, "error.code": problem.code, "why": problem.detail})
        return problem.response()

    async def join(request: Request) -> Response:
        body = await read_model(request, JoinRequest)
        if body.token is None and body.host is None and body.csr is None:
            return JSONResponse(mesh())
        if body.token is None or body.host is None or body.csr is None:
            raise ProblemError(
                status=400,
                code="invalid_request",
                title="Bad request",
                detail="to join, send all of token, host and csr; for the CA's certificates, send {}",
            )
        issued = await issuer.join(token=body.token, host=body.host, csr=body.csr)
        count_signed("host")
        logger.info("host joined", extra={"host": body.host, "serial": issued.serial})
        return JSONResponse({"certificate": issued.chain_pem.decode(), **mesh()}, status_code=201)

    async def sign(request: Request) -> Response:
        body = await read_model(request, SignRequest)
        peer = _peer(request)
        issued = await issuer.sign(peer, body.csr)
        count_signed("leaf")
        return JSONResponse(
            {"certificate": issued.chain_pem.decode(), "revoked": list(issuer.revoked), **mesh()}, status_code=200
        )

    routes = [Route("/v1/join", join, methods=["POST"]), Route("/v1/sign", sign, methods=["POST"])]
    return Starlette(routes=routes, exception_handlers=dict.fromkeys(HANDLED, refuse))


def _peer(request: Request) -> Peer:
    found = request.scope.get(PEER)
    if isinstance(found, Peer):
        return found
    if isinstance(found, InvalidName):
        raise IdentityRefusedError("not_a_host", f"the certificate names nobody of a mesh: {found}")
    raise IdentityRefusedError("certificate_required", "this needs a host's certificate, and none was shown")
