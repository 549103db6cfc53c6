"""X.509 as Weft writes and reads it: EC P-256, one SPIFFE ID per leaf, an exact end.

Three shapes are written: a root (path length 1), an intermediate of one controller (path length 0) and a leaf. Roots and
intermediates carry `spiffe://<trust-domain>` as the X.509-SVID standard, section 4.1, asks of signing certificates; a
leaf carries exactly one URI SAN (section 2) and both extended key usages, because every engine calls and is called.
Intermediates have no name constraints: they would have to be critical to count, and rustls reads none for URIs.

Pure: keys and the time are arguments. Certificates start `BACKDATE` before now, so that a clock a little behind ours
accepts them, and end exactly when they should.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from registry.names import InvalidName, SpiffeId
from registry.pki.errors import IdentityRefusedError

BACKDATE = timedelta(seconds=30)

Key = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


def new_key() -> Key:
    """A fresh P-256 key; it is made where it is used and never travels."""
    return ec.generate_private_key(ec.SECP256R1())


def root(key: Key, *, trust_domain: str, now: datetime, life: timedelta) -> x509.Certificate:
    """A self-signed root of a trust domain."""
    name = _name(f"Weft root of {trust_domain}")
    builder = _builder(name, name, key.public_key(), key.public_key(), start=now - BACKDATE, end=now + life)
    return _signing(builder, trust_domain, path_length=1).sign(key, hashes.SHA256())


def intermediate(
    public: PublicKey, *, name: str, issuer: x509.Certificate, issuer_key: Key, now: datetime, life: timedelta
) -> x509.Certificate:
    """The signing certificate of one controller; it ends no later than its root."""
    end = min(now + life, issuer.not_valid_after_utc)
    builder = _builder(
        _name(f"Weft {name}"), issuer.subject, public, issuer_key.public_key(), start=now - BACKDATE, end=end
    )
    return _signing(builder, trust_domain_of(issuer), path_length=0).sign(issuer_key, hashes.SHA256())


def leaf(
    public: PublicKey, identity: SpiffeId, *, issuer: x509.Certificate, issuer_key: Key, now: datetime, life: timedelta
) -> x509.Certificate:
    """An X.509-SVID; it ends no later than what signed it."""
    builder = _end_entity(public, identity.last, issuer, issuer_key, now, life)
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity))])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(names, critical=False)
    return builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False).sign(issuer_key, hashes.SHA256())


def public_leaf(
    public: PublicKey,
    hosts: Sequence[str],
    *,
    issuer: x509.Certificate,
    issuer_key: Key,
    now: datetime,
    life: timedelta,
) -> x509.Certificate:
    """A web server's certificate for DNS names and IP addresses: the public face of a development gateway."""
    builder = _end_entity(public, hosts[0], issuer, issuer_key, now, life)
    names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    builder = builder.add_extension(names, critical=False)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return builder.add_extension(usage, critical=False).sign(issuer_key, hashes.SHA256())


def spiffe_id_of(certificate: x509.Certificate) -> SpiffeId:
    """The one SPIFFE ID of a leaf; raises `InvalidName` where there is none, or more than one."""
    return only_spiffe_id(uris_of(certificate))


def trust_domain_of(certificate: x509.Certificate) -> str:
    """The trust domain that a signing certificate speaks for; refused with `invalid_ca` where it names none."""
    found = [uri.removeprefix("spiffe://") for uri in uris_of(certificate) if uri.startswith("spiffe://")]
    if len(found) != 1 or "/" in found[0]:
        raise IdentityRefusedError(
            "invalid_ca", f"the certificate of {certificate.subject.rfc4514_string()!r} names no trust domain"
        )
    return found[0]


def only_spiffe_id(uris: Sequence[str]) -> SpiffeId:
    """The SPIFFE ID of a list of URI SANs that has exactly one entry; raises `InvalidName`."""
    if len(uris) != 1:
        raise InvalidName(f"an SVID has exactly one URI name, this has {len(uris)}")
    return SpiffeId.parse(uris[0])


def uris_of(holder: x509.Certificate | x509.CertificateSigningRequest) -> list[str]:
    """The URI SANs of a certificate or of a request for one."""
    try:
        names = holder.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def serial_of(certificate: x509.Certificate) -> str:
    """The serial as it stands in keys, metrics and answers: lower-case hex, no leading zeros."""
    return format(certificate.serial_number, "x")


def key_digest(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """SHA-256 of the SubjectPublicKeyInfo, in hex: what a join token pins (RFC 7469, section 2.4)."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).hexdigest()


def pem(*certificates: x509.Certificate) -> bytes:
    """A chain as PEM, in the order given."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def der(certificate: x509.Certificate) -> bytes:
    """One certificate as DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def key_pem(key: Key) -> bytes:
    """A private key as PKCS #8 PEM, unencrypted: its file is what protects it."""
    return _key_bytes(key, serialization.Encoding.PEM)


def key_der(key: Key) -> bytes:
    """A private key as PKCS #8 DER, as the engine takes it."""
    return _key_bytes(key, serialization.Encoding.DER)


def load_key(text: bytes) -> Key:
    """The P-256 key in a PEM; raises `ValueError`."""
    key = serialization.load_pem_private_key(text, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("the private key is not an EC P-256 key")
    return key


def lifetime(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """When it was issued (the backdating taken off) and when it ends."""
    return certificate.not_valid_before_utc + BACKDATE, certificate.not_valid_after_utc


def now_utc() -> datetime:
    """The shell's clock; certificates count whole seconds."""
    return datetime.now(UTC)


def _end_entity(
    public: PublicKey, name: str, issuer: x509.Certificate, issuer_key: Key, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    end = min(now + life, issuer.not_valid_after_utc)
    builder = _builder(_name(name[:64]), issuer.subject, public, issuer_key.public_key(), start=now - BACKDATE, end=end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return builder.add_extension(_usage(digital_signature=True, signing=False), critical=True)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: PublicKey, signer: PublicKey, *, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )


def _signing(builder: x509.CertificateBuilder, trust_domain: str, *, path_length: int) -> x509.CertificateBuilder:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")])
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_usage(digital_signature=False, signing=True), critical=True)
        .add_extension(names, critical=False)
    )


def _usage(*, digital_signature: bool, signing: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signing,
        crl_sign=signing,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_bytes(key: Key, encoding: serialization.Encoding) -> bytes:
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
