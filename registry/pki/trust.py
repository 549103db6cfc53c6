"""The trust bundle: the roots that hosts believe, per trust domain, as stored under `pki/trust`.

Each certificate has a state. `active` ones are trusted; the other states belong to rotation (DESIGN.md section 7: two
slots), and a reader trusts everything that is not `retired`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from cryptography import x509

from registry.pki import certificates
from registry.pki.errors import IdentityRefusedError


class InvalidTrustBundle(ValueError):
    """A value under `pki/trust` that is not a bundle."""

    code = "invalid_trust_bundle"


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """The roots of each trust domain, as PEM."""

    roots: Mapping[str, tuple[str, ...]]

    def of(self, trust_domain: str) -> tuple[str, ...]:
        """The roots of one trust domain; none where it is unknown."""
        return self.roots.get(trust_domain, ())


def encode(bundle: TrustBundle) -> bytes:
    """As stored."""
    domains = {
        domain: [{"certificate": text, "state": "active"} for text in roots] for domain, roots in bundle.roots.items()
    }
    return orjson.dumps({"trust_domain": domains})


def decode(value: bytes) -> TrustBundle:
    """The inverse of `encode`; raises `InvalidTrustBundle`."""
    try:
        domains = orjson.loads(value)["trust_domain"]
        roots = {
            str(domain): tuple(entry["certificate"] for entry in entries if entry["state"] != "retired")
            for domain, entries in domains.items()
        }
        for text in (text for group in roots.values() for text in group):
            x509.load_pem_x509_certificate(text.encode())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidTrustBundle(
            f"a trust bundle is {{trust_domain: {{name: [{{certificate, state}}]}}}}: {error!r}"
        ) from error
    return TrustBundle(roots)


def pinned(roots: Iterable[str], key_digest: str) -> str:
    """The root whose key has this digest: the one step from a token to a trusted certificate.

    Refused with `invalid_token` where none has: whoever answered is not the mesh that made the token.
    """
    for text in roots:
        try:
            certificate = x509.load_pem_x509_certificate(text.encode())
        except ValueError:
            continue
        if certificates.key_digest(certificate) == key_digest:
            return text
    raise IdentityRefusedError("invalid_token", "the controller's CA is not the one that this token was made for")


def to_der(roots: Sequence[str]) -> tuple[bytes, ...]:
    """PEM roots as DER."""
    return tuple(certificates.der(x509.load_pem_x509_certificate(text.encode())) for text in roots)


def digest(root: str) -> str:
    """The digest of a PEM root's key, as join tokens carry it."""
    return certificates.key_digest(x509.load_pem_x509_certificate(root.encode()))
