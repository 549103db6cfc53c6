"""Talking to controllers about identities: join with a token, have requests signed.

Before anything secret is said, the controller has proved itself: its chain ends in a root we trust (when joining: the
root whose key the token pins), and its SPIFFE ID is a controller's of that trust domain. Both are checked within the
handshake, because whatever comes after it is already a request.

How it fails: `ControllerUnreachableError` (nobody answered; another may) or `ControllerRefusedError` (an answer, with
the code, detail and way out that the controller gave).
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
import orjson

from proxy.credential_files import MeshTrust
from registry.names import IdentityKind, InvalidName
from registry.pki import certificates, trust
from registry.pki.tokens import Token

TIMEOUT = 5.0  # seconds for one exchange


class ControllerUnreachableError(Exception):
    """A controller did not answer, or could not prove that it is one."""

    code = "controller_unreachable"


class ControllerRefusedError(Exception):
    """A controller said no."""

    def __init__(self, *, status: int, code: str, detail: str, fix: str) -> None:
        super().__init__(f"{code}: {detail}" + (f" ({fix})" if fix else ""))
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Answer:
    """A chain in PEM, leaf first, and the mesh as the controller sees it."""

    chain_pem: bytes
    mesh: MeshTrust


class _ControllerConnection(ssl.SSLObject):
    """A TLS connection whose handshake fails unless the other end is a controller."""

    def do_handshake(self) -> None:
        super().do_handshake()
        peer = self.getpeercert() or {}
        uris = [str(entry[1]) for entry in peer.get("subjectAltName", ()) if entry[0] == "URI"]
        try:
            identity = certificates.only_spiffe_id(uris)
        except InvalidName as error:
            raise ssl.SSLCertVerificationError(f"the certificate shown is not a controller's: {error}") from error
        if identity.kind is not IdentityKind.CONTROLLER:
            raise ssl.SSLCertVerificationError(f"{identity} answers there, which is not a controller")


def verifying_context(roots: Sequence[str], *, credential_pem: bytes | None = None) -> ssl.SSLContext:
    """TLS 1.3 towards controllers, verified against these roots, with our certificate (chain and key in PEM) if given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # controllers are known by SPIFFE ID, see _ControllerConnection
    context.load_verify_locations(cadata="\n".join(roots))
    context.sslobject_class = _ControllerConnection
    if credential_pem is not None:
        load_credential(context, credential_pem)
    return context


def load_credential(context: ssl.SSLContext, credential_pem: bytes) -> None:
    """Give a context its certificate and key; Python's ssl takes them from a file only, which lives as long as this call."""
    with tempfile.TemporaryDirectory(prefix="weft-") as directory:
        path = Path(directory) / "credential.pem"
        path.touch(mode=0o600)
        path.write_bytes(credential_pem)
        context.load_cert_chain(path)


async def fetch_trust(url: str, token: Token) -> MeshTrust:
    """Ask whoever answers for its CA, and believe only the root that the token pins.

    Refused (`IdentityRefusedError`, `invalid_token`) where it has another.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing secret is said on this connection; the token decides what to believe
    mesh = _mesh(url, await _post(url, "/v1/join", {}, context))
    return MeshTrust(mesh.trust_domain, mesh.datacenter, (trust.pinned(mesh.roots, token.root_digest),))


async def join(url: str, *, token: Token, mesh: MeshTrust, host: str, csr: bytes) -> Answer:
    """Spend the token with a controller that `mesh` proves."""
    body = {"token": token.text, "host": host, "csr": csr.decode()}
    return _answer(url, await _post(url, "/v1/join", body, verifying_context(mesh.roots)))


async def sign(url: str, *, csr: bytes, context: ssl.SSLContext) -> Answer:
    """Have a request signed, as the host whose certificate `context` carries."""
    return _answer(url, await _post(url, "/v1/sign", {"csr": csr.decode()}, context))


async def _post(url: str, path: str, body: Mapping[str, str], context: ssl.SSLContext) -> Mapping[str, object]:
    try:
        async with httpx2.AsyncClient(verify=context, trust_env=False, timeout=TIMEOUT) as client:
            response = await client.post(url.rstrip("/") + path, json=body)
            content = orjson.loads(response.content)
    except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, OSError) as error:
        why = str(error) or "it closed the connection: its own log says why"
        raise ControllerUnreachableError(f"{url}: {why}") from error
    except ValueError as error:
        raise ControllerUnreachableError(f"{url}: what answers there is not a controller: {error}") from error
    if not isinstance(content, dict):
        raise ControllerUnreachableError(f"{url}: what answers there is not a controller")
    if response.status_code >= 400:
        raise ControllerRefusedError(
            status=response.status_code,
            code=str(content.get("code", "unknown")),
            detail=str(content.get("detail", response.reason_phrase)),
            fix=str(content.get("fix", "")),
        )
    return content


def _mesh(url: str, content: Mapping[str, object]) -> MeshTrust:
    roots, revoked = content.get("trust"), content.get("revoked", [])
    try:
        if not isinstance(roots, list) or not isinstance(revoked, list):
            raise ValueError("there is none")
        trust.to_der([str(root) for root in roots])
    except ValueError as error:
        raise ControllerUnreachableError(f"{url}: its answer has no trust bundle that can be read: {error}") from error
    names = str(content.get("trust_domain")), str(content.get("datacenter"))
    return MeshTrust(*names, tuple(map(str, roots)), tuple(map(str, revoked)))


def _answer(url: str, content: Mapping[str, object]) -> Answer:
    return Answer(str(content.get("certificate", "")).encode(), _mesh(url, content))
