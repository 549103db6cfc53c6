"""A CA and certificates that engine, nginx and HAProxy all accept: the SPIFFE ID for the one, a DNS name for the others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from registry.names import ServiceName, SpiffeId, server_name

TRUST_DOMAIN = "bench"
DATACENTER = "dc1"
CALLER = ServiceName("default", "web")
CALLED = ServiceName("default", "api")
INSTANCE = "api-1"


@dataclass(frozen=True, slots=True)
class Files:
    """Where a certificate chain, its key and the CA are; and the server name that the called instance answers to."""

    chain: Path
    key: Path
    ca: Path
    server_name: str = server_name(CALLED, INSTANCE, TRUST_DOMAIN)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both ends of the bench's mutual TLS."""

    client: Files
    server: Files


def make(directory: Path) -> Pair:
    """A fresh CA and one certificate for each end, P-256, good for a day."""
    directory.mkdir()
    ca_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench CA")])
    ca = (
        _builder(name, name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    (directory / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))

    def leaf(service: ServiceName, dns: str) -> Files:
        key = ec.generate_private_key(ec.SECP256R1())
        uri = str(SpiffeId.of_service(TRUST_DOMAIN, DATACENTER, service))
        certificate = (
            _builder(x509.Name([]), name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), x509.DNSName(dns)]), critical=True
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        files = Files(directory / f"{service.name}.pem", directory / f"{service.name}.key", directory / "ca.pem")
        files.chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files.key.touch(mode=0o600)
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    return Pair(client=leaf(CALLER, "web.bench"), server=leaf(CALLED, server_name(CALLED, INSTANCE, TRUST_DOMAIN)))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(seconds=30))
        .not_valid_after(now + timedelta(days=1))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
