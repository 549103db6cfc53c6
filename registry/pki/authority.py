"""The certificate authority on disk: a root that may go offline, and an intermediate per controller that signs.

A directory holds `root.pem`, `intermediate.pem` and `intermediate.key`; the one made by `create` also holds `root.key`,
which only `add_intermediate` needs and which may be moved away afterwards. How it fails: `invalid_ca`, naming the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from registry.names import SpiffeId
from registry.pki import certificates
from registry.pki.errors import IdentityRefusedError
from registry.pki.files import private_directory, write_private, write_public

ROOT_LIFE = timedelta(days=3650)
INTERMEDIATE_LIFE = timedelta(days=1825)
SERVICE_LIFE = timedelta(hours=72)
HOST_LIFE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Issued:
    """A signed leaf and the certificates above it, root left out."""

    certificate: x509.Certificate
    chain_pem: bytes

    @property
    def serial(self) -> str:
        """Lower-case hex."""
        return certificates.serial_of(self.certificate)


@dataclass(frozen=True, slots=True)
class Authority:
    """A controller's power to sign: its intermediate and the root above it."""

    root: x509.Certificate
    certificate: x509.Certificate
    key: certificates.Key

    @classmethod
    def load(cls, directory: Path) -> Authority:
        """Read and check the files of a directory; refused with `invalid_ca`."""
        root = _read_certificate(directory / "root.pem")
        certificate = _read_certificate(directory / "intermediate.pem")
        key = _read_key(directory / "intermediate.key")
        if key.public_key() != certificate.public_key():
            raise _unusable(directory / "intermediate.key", "it is not the key of intermediate.pem")
        try:
            certificate.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise _unusable(directory / "intermediate.pem", "root.pem did not sign it") from error
        certificates.trust_domain_of(root)
        return cls(root, certificate, key)

    @property
    def trust_domain(self) -> str:
        """Whose identities it signs."""
        return certificates.trust_domain_of(self.root)

    @property
    def root_pem(self) -> str:
        """The root, as it goes into a trust bundle."""
        return certificates.pem(self.root).decode()

    @property
    def root_digest(self) -> str:
        """The digest that join tokens carry."""
        return certificates.key_digest(self.root)

    def sign(self, public: certificates.PublicKey, identity: SpiffeId, *, now: datetime, life: timedelta) -> Issued:
        """An SVID for whoever holds the key. Who may have it is decided before, in `registry/pki/roster.py`."""
        signed = certificates.leaf(public, identity, issuer=self.certificate, issuer_key=self.key, now=now, life=life)
        return self._issued(signed)

    def sign_public(
        self, public: certificates.PublicKey, hosts: Sequence[str], *, now: datetime, life: timedelta
    ) -> Issued:
        """A web server's certificate, for gateways in development."""
        signed = certificates.public_leaf(
            public, hosts, issuer=self.certificate, issuer_key=self.key, now=now, life=life
        )
        return self._issued(signed)

    def _issued(self, signed: x509.Certificate) -> Issued:
        return Issued(signed, certificates.pem(signed, self.certificate))


def create(directory: Path, *, trust_domain: str, now: datetime) -> Authority:
    """A new root with a first intermediate; refuses to replace one that is there (`invalid_ca`). Raises `InvalidName`."""
    SpiffeId(trust_domain, "/check")
    if (directory / "root.pem").exists():
        raise IdentityRefusedError("invalid_ca", f"{directory} holds a certificate authority already")
    private_directory(directory)
    key = certificates.new_key()
    root = certificates.root(key, trust_domain=trust_domain, now=now, life=ROOT_LIFE)
    write_private(directory / "root.key", certificates.key_pem(key))
    write_public(directory / "root.pem", certificates.pem(root))
    return add_intermediate(directory, directory, name="intermediate 1", now=now)


def add_intermediate(root_directory: Path, directory: Path, *, name: str, now: datetime) -> Authority:
    """Give `directory` (of another controller) an intermediate of its own, signed by the root of `root_directory`."""
    root = _read_certificate(root_directory / "root.pem")
    root_key = _read_key(root_directory / "root.key")
    private_directory(directory)
    key = certificates.new_key()
    signed = certificates.intermediate(
        key.public_key(), name=name, issuer=root, issuer_key=root_key, now=now, life=INTERMEDIATE_LIFE
    )
    if directory != root_directory:
        write_public(directory / "root.pem", certificates.pem(root))
    write_private(directory / "intermediate.key", certificates.key_pem(key))
    write_public(directory / "intermediate.pem", certificates.pem(signed))
    return Authority.load(directory)


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from error


def _read_key(path: Path) -> certificates.Key:
    try:
        if path.stat().st_mode & 0o077:
            raise _unusable(path, "others may read this private key: chmod 600 it")
        return certificates.load_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from error


def _unusable(path: Path, why: str) -> IdentityRefusedError:
    return IdentityRefusedError("invalid_ca", f"{path}: {why}")
