"""A CA and pairs for an etcd that speaks TLS and asks its clients for certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.etcd import Tls


def make_tls(directory: Path) -> Tls:
    """Files for one etcd on 127.0.0.1 and one client, below `directory`."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("etcd ca", key.public_key(), issuer="etcd ca", signer=key, is_ca=True)
    _write(directory / "ca.pem", authority.public_bytes(serialization.Encoding.PEM))
    for name in ("server", "client"):
        own = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, own.public_key(), issuer="etcd ca", signer=key, is_ca=False)
        _write(directory / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM))
        _write(directory / f"{name}.key", _private(own))
    return Tls(
        ca=directory / "ca.pem",
        certificate=directory / "server.pem",
        key=directory / "server.key",
        client_certificate=directory / "client.pem",
        client_key=directory / "client.key",
    )


def _certificate(
    name: str, key: ec.EllipticCurvePublicKey, *, issuer: str, signer: ec.EllipticCurvePrivateKey, is_ca: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(address, critical=False)
        .sign(signer, hashes.SHA256())
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
