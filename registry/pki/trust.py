"""The trust bundle: the roots that hosts believe, per trust domain, as stored under `pki/trust`.

Each certificate has a state: `active` is signed with, `next` will be when every host trusts it, `old` was. A reader trusts
them all; of a state it does not know, only `retired` is not trusted. How one becomes the other is `registry/pki/rotation.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from registry.pki import certificates
from registry.pki.errors import IdentityRefusedError


class InvalidTrustBundle(ValueError):
    """A value under `pki/trust` that is not a bundle."""

    code = "invalid_trust_bundle"


ACTIVE, NEXT, OLD, RETIRED = "active", "next", "old", "retired"


@dataclass(frozen=True, slots=True)
class Mark:
    """The state of a root, and since when it has it, in seconds since the epoch; 0 where that was not noted."""

    state: str = ACTIVE
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """The roots of each trust domain, as PEM; `marks` by PEM, `active` where there is none."""

    roots: Mapping[str, tuple[str, ...]]
    marks: Mapping[str, Mark] = field(default_factory=dict)

    def of(self, trust_domain: str) -> tuple[str, ...]:
        """The roots of one trust domain, those that are signed with first; none where it is unknown."""
        return tuple(sorted(self.roots.get(trust_domain, ()), key=lambda root: self.mark(root).state != ACTIVE))

    def mark(self, root: str) -> Mark:
        """The state of a root."""
        return self.marks.get(root, Mark())


def encode(bundle: TrustBundle) -> bytes:
    """As stored."""
    domains = {
        domain: [
            {"certificate": text, "state": bundle.mark(text).state, "since": bundle.mark(text).since} for text in roots
        ]
        for domain, roots in bundle.roots.items()
    }
    return orjson.dumps({"trust_domain": domains})


def decode(value: bytes) -> TrustBundle:
    """The inverse of `encode`; raises `InvalidTrustBundle`."""
    try:
        domains = orjson.loads(value)["trust_domain"]
        roots = {
            str(domain): tuple(entry["certificate"] for entry in entries if entry["state"] != RETIRED)
            for domain, entries in domains.items()
        }
        marks = {
            str(entry["certificate"]): Mark(str(entry["state"]), float(entry.get("since", 0.0)))
            for entries in domains.values()
            for entry in entries
            if entry["state"] != RETIRED and (entry["state"], entry.get("since", 0.0)) != (ACTIVE, 0.0)
        }
        for text in (text for group in roots.values() for text in group):
            x509.load_pem_x509_certificate(text.encode())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidTrustBundle(
            f"a trust bundle is {{trust_domain: {{name: [{{certificate, state}}]}}}}: {error!r}"
        ) from error
    return TrustBundle(roots, marks)


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


def fingerprint(root: bytes) -> str:
    """What acks call a root, given as DER."""
    return hashlib.sha256(root).hexdigest()[:32]


def root_of(chain: Sequence[bytes], roots: Sequence[bytes]) -> bytes | None:
    """The root that a chain ends in, all DER; None: none of these. Only signatures are looked at."""
    return _issuer_of(chain[-1], tuple(roots))


@lru_cache(maxsize=256)
def _issuer_of(certificate: bytes, roots: tuple[bytes, ...]) -> bytes | None:
    last = x509.load_der_x509_certificate(certificate)
    for root in roots:
        try:
            last.verify_directly_issued_by(x509.load_der_x509_certificate(root))
        except (ValueError, TypeError, InvalidSignature):
            continue
        return root
    return None


def digest(root: str) -> str:
    """The digest of a PEM root's key, as join tokens carry it."""
    return certificates.key_digest(x509.load_pem_x509_certificate(root.encode()))
