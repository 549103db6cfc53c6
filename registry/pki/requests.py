"""Certificate signing requests: what a host writes, and the little a controller believes of it.

Of a request only the key and one SPIFFE ID count. Subject, lifetime, usages and whatever else it asks for are ignored:
the authority decides those. The request's own signature proves that its sender has the key.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from registry.names import InvalidName, SpiffeId
from registry.pki import certificates
from registry.pki.errors import IdentityRefusedError

MAX_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A request that holds: its key is of the right kind and was used to sign it."""

    identity: SpiffeId
    public: certificates.PublicKey
    key_digest: str


def make_csr(key: certificates.Key, identity: SpiffeId) -> bytes:
    """A PEM request for `identity`."""
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def parse_csr(text: str | bytes) -> SigningRequest:
    """Check a PEM request; refused with `invalid_csr`, which says why."""
    content = text.encode() if isinstance(text, str) else text
    if len(content) > MAX_BYTES:
        raise IdentityRefusedError("invalid_csr", f"the request has {len(content)} bytes, at most {MAX_BYTES} are read")
    try:
        request = x509.load_pem_x509_csr(content)
        public = request.public_key()
        signed = request.is_signature_valid
        identity = certificates.only_spiffe_id(certificates.uris_of(request))
    except InvalidName as error:
        raise IdentityRefusedError("invalid_csr", f"the request does not name one identity: {error}") from error
    except (ValueError, UnsupportedAlgorithm, InvalidSignature, x509.DuplicateExtension) as error:
        raise IdentityRefusedError("invalid_csr", f"the request cannot be read: {error}") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise IdentityRefusedError("invalid_csr", f"the request for {identity} has a key that is not EC P-256")
    if not signed:
        raise IdentityRefusedError("invalid_csr", f"the request for {identity} is not signed by the key it carries")
    return SigningRequest(identity, public, certificates.key_digest(request))
