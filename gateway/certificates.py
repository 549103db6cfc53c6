"""The certificates a gateway shows the world: files on its host, named by its document, read again when they change.

How it fails: a pair of files that cannot be used, or whose key does not belong to its certificate, leaves the last good pair
in force, and `problems` says what is wrong with it until it is mended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.listeners import certificate_name
from policy.compiled import CertificateFiles, Gateway
from proxy.engine import Credential

_Stat = tuple[tuple[int, int], tuple[int, int]]


class InvalidCertificateFiles(ValueError):
    """A certificate file and a key file that cannot be used together. The message names the file and says why."""

    code = "invalid_certificate_files"


@dataclass(frozen=True, slots=True)
class _Read:
    """One reading of a pair: the files as they were, and what they held."""

    files: CertificateFiles
    stat: _Stat | None
    credential: Credential | None
    problem: str


class PublicCertificates:
    """The pairs that a gateway's document names, as last read."""

    def __init__(self) -> None:
        self._read: dict[str, _Read] = {}

    def __repr__(self) -> str:
        return f"PublicCertificates({ {name: read.problem or 'good' for name, read in self._read.items()} })"

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong with whose files."""
        return {name: read.problem for name, read in self._read.items() if read.problem}

    def refresh(self, name: str, gateway: Gateway) -> Mapping[str, Credential | None]:
        """Read what changed of a gateway's files: identity name to its new credential, None for one no longer named."""
        named = {
            certificate_name(name, listener, index): files
            for listener, found in gateway.listeners.items()
            for index, files in enumerate(found.certificates)
        }
        changed: dict[str, Credential | None] = dict.fromkeys(self._read.keys() - named.keys())
        for gone in changed:
            del self._read[gone]
        for identity, files in named.items():
            before = self._read.get(identity)
            stat = _stat(files)
            if before is not None and before.files == files and before.stat == stat and stat is not None:
                continue
            read = _look(files, stat, before)
            self._read[identity] = read
            if read.credential is not None and (before is None or read.credential != before.credential):
                changed[identity] = read.credential
        return changed


def load(cert_file: Path, key_file: Path) -> Credential:
    """A chain, leaf first, and its key from PEM files; raises `InvalidCertificateFiles`."""
    try:
        chain = x509.load_pem_x509_certificates(cert_file.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidCertificateFiles(f"{cert_file}: not a PEM certificate: {_reason(error)}") from error
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise InvalidCertificateFiles(
            f"{key_file}: not a PEM private key without password: {_reason(error)}"
        ) from error
    public = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if chain[0].public_key().public_bytes(*public) != key.public_key().public_bytes(*public):
        raise InvalidCertificateFiles(f"{key_file}: not the key of the first certificate in {cert_file}")
    if chain[0].not_valid_after_utc <= datetime.now(UTC):
        raise InvalidCertificateFiles(
            f"{cert_file}: ended at {chain[0].not_valid_after_utc:%Y-%m-%d %H:%M} UTC: renew it"
        )
    return Credential(
        tuple(certificate.public_bytes(serialization.Encoding.DER) for certificate in chain),
        key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _look(files: CertificateFiles, stat: _Stat | None, before: _Read | None) -> _Read:
    try:
        return _Read(files, stat, load(Path(files.cert_file), Path(files.key_file)), "")
    except InvalidCertificateFiles as error:
        return _Read(files, stat, None if before is None else before.credential, str(error))


def _stat(files: CertificateFiles) -> _Stat | None:
    try:
        one, two = Path(files.cert_file).stat(), Path(files.key_file).stat()
    except OSError:
        return None
    return (one.st_mtime_ns, one.st_ino), (two.st_mtime_ns, two.st_ino)


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
