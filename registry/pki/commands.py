"""What `weft ca` and `weft token` do, as functions of paths and texts: no terminal here.

Every function raises `IdentityRefusedError` (with a code of `registry/pki/errors.py`), `InvalidName` or `OSError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from registry.pki import authority, certificates, roster
from registry.pki.authority import Authority
from registry.pki.errors import IdentityRefusedError
from registry.pki.files import private_directory, write_private
from registry.pki.requests import parse_csr


def init_ca(directory: Path, *, trust_domain: str, now: datetime) -> Authority:
    """`weft ca init DIR --trust-domain NAME`: a new root with its first intermediate."""
    return authority.create(directory, trust_domain=trust_domain, now=now)


def init_controller_ca(directory: Path, *, root: Path, name: str, now: datetime) -> Authority:
    """`weft ca intermediate DIR --root DIR --name NAME`: another controller's power to sign."""
    return authority.add_intermediate(root, directory, name=name, now=now)


def sign_csr(
    ca: Path, csr: bytes, *, services: Sequence[str], now: datetime, life: timedelta = authority.SERVICE_LIFE
) -> bytes:
    """`weft ca sign CSR --services PATTERNS`: the chain, leaf first, for an identity that the patterns cover.

    Whoever signs by hand says what the requester may be; a request for anything else is refused.
    """
    signer = Authority.load(ca)
    request = parse_csr(csr)
    segments = request.identity.path.split("/")
    datacenter = segments[4] if len(segments) > 4 else ""
    roster.check_entitlement(
        request.identity.last,
        [roster.check_pattern(pattern) for pattern in services],
        request.identity,
        trust_domain=signer.trust_domain,
        datacenter=datacenter,
    )
    return signer.sign(request.public, request.identity, now=now, life=life).chain_pem


def make_public_certificate(
    ca: Path, directory: Path, *, hosts: Sequence[str], now: datetime, life: timedelta = timedelta(days=90)
) -> tuple[Path, Path]:
    """A development gateway's public certificate for DNS names and addresses: `cert.pem` and `key.pem` in `directory`."""
    if not hosts:
        raise IdentityRefusedError("invalid_csr", "a public certificate needs at least one host name")
    key = certificates.new_key()
    issued = Authority.load(ca).sign_public(key.public_key(), hosts, now=now, life=life)
    private_directory(directory)
    chain, secret = directory / "cert.pem", directory / "key.pem"
    write_private(secret, certificates.key_pem(key))
    write_private(chain, issued.chain_pem)
    return chain, secret
