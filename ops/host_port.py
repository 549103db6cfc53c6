"""The TLS side of the port for hosts: a controller's own certificate, renewed by itself.

The certificate is signed by the controller's own intermediate, so nobody has to be asked, and lives in memory only: a
restart makes another. Renewal loads the new one into the context that is already serving, so that new connections get it
and open ones go on.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence

from proxy.controllers import load_credential
from proxy.renewal import renew_at
from registry.names import SpiffeId
from registry.pki import certificates
from registry.pki.authority import Issued
from registry.pki.errors import IdentityRefusedError
from registry.pki.issuer import Issuer
from registry.pki.requests import make_csr, parse_csr

logger = logging.getLogger(__name__)

LOOK_AGAIN = 60.0  # seconds: the wall clock may jump while a timer does not

# OpenSSL's X509_V_ERR_*, in the words of the engine's `tls_reason` (DESIGN.md section 6).
REASONS = {9: "not_yet_valid", 10: "expired", 18: "unknown_ca", 19: "unknown_ca", 20: "unknown_ca", 21: "unknown_ca"}


class _HostConnection(ssl.SSLObject):
    """A TLS connection that says why a caller's certificate was refused.

    asyncio closes such a connection before OpenSSL's alert is sent, so the caller sees only an end: the reason stands here.
    """

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            reason = REASONS.get(error.verify_code, "bad_certificate")
            logger.warning(
                "host refused in the handshake",
                extra={"error.code": "tls_failed", "tls_reason": reason, "why": error.verify_message},
            )
            raise


def server_context(*, roots: Sequence[str], chain_pem: bytes, key: certificates.Key) -> ssl.SSLContext:
    """TLS 1.3 that asks for a client's certificate, and verifies it against `roots` where there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_OPTIONAL  # POST /v1/join comes without one
    context.load_verify_locations(cadata="\n".join(roots))
    context.sslobject_class = _HostConnection
    load_credential(context, chain_pem + certificates.key_pem(key))
    return context


class ServerCertificate:
    """This controller's certificate on its port for hosts."""

    def __init__(self, issuer: Issuer, *, host: str) -> None:
        self._issuer = issuer
        self._identity = SpiffeId.of_controller(issuer.mesh.trust_domain, host)
        self._issued, key = self._make()
        self.context = server_context(roots=issuer.roots, chain_pem=self._issued.chain_pem, key=key)

    @property
    def serial(self) -> str:
        """The one that new connections get."""
        return self._issued.serial

    async def keep_fresh(self) -> None:
        """Renew at a third of each certificate's life, for ever."""
        while True:
            issued, ends = certificates.lifetime(self._issued.certificate)
            wait = (renew_at(issued, ends, jitter=0.0) - certificates.now_utc()).total_seconds()
            if wait > 0:
                await asyncio.sleep(min(wait, LOOK_AGAIN))
                continue
            try:
                self.renew()
            except IdentityRefusedError as error:
                logger.error("certificate not renewed", extra={"error.code": error.code, "why": str(error)})
                await asyncio.sleep(LOOK_AGAIN)

    def renew(self) -> None:
        """Another certificate, at once. Refused with `not_signing` where this controller cannot sign any more."""
        self._issued, key = self._make()
        load_credential(self.context, self._issued.chain_pem + certificates.key_pem(key))
        logger.info("certificate signed", extra={"identity": str(self._identity), "serial": self.serial})

    def trust(self, roots: Sequence[str]) -> None:
        """Believe these roots too from now on."""
        self.context.load_verify_locations(cadata="\n".join(roots))

    def _make(self) -> tuple[Issued, certificates.Key]:
        key = certificates.new_key()
        return self._issuer.sign_controller(parse_csr(make_csr(key, self._identity))), key
