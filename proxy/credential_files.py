"""A host's identities on its own disk: what lets a restarted agent prove who it is before anybody answers.

One file per identity, chain and key together, replaced whole, mode 0600 in a directory of mode 0700. A file that cannot
be used is reported and left alone: what it lacks is asked for again. A disk that cannot be written costs the next
restart, not this life: it is logged, and what was signed is used.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from proxy.credentials import Credential, InvalidCredential, read_credential
from registry.names import IdentityKind, SpiffeId
from registry.pki import certificates, trust
from registry.pki.files import private_directory, write_private

logger = logging.getLogger(__name__)

_HOST = "host.pem"
_JOINING = "joining.key"
_MESH = "mesh.json"


@dataclass(frozen=True, slots=True)
class MeshTrust:
    """What a controller last said of the mesh: its names, its roots (PEM), and what is revoked."""

    trust_domain: str
    datacenter: str
    roots: tuple[str, ...]
    revoked: tuple[str, ...] = ()


def slug(identity: SpiffeId) -> str:
    """A file name for a service's or gateway's identity: `api.shop`, `edge.gateway`; names have no dots."""
    service = identity.service
    return f"{service.name}.{service.namespace}" if service is not None else f"{identity.last}.gateway"


class CredentialFiles:
    """`state_dir/identity`."""

    def __init__(self, directory: Path) -> None:
        self._directory = private_directory(directory)
        private_directory(self._leaves)

    @property
    def _leaves(self) -> Path:
        return self._directory / "held"

    def host(self) -> Credential | None:
        """The host's own credential, if there is one that can be read."""
        return self._read(self._directory / _HOST)

    def keep_host(self, credential: Credential) -> None:
        """The host's credential from now on; a key made for joining has done its work."""
        _write(self._directory / _HOST, credential.pem)
        (self._directory / _JOINING).unlink(missing_ok=True)

    def joining_key(self) -> certificates.Key:
        """The key to join with. It outlives a crash, so that a spent token's answer can be asked for again."""
        path = self._directory / _JOINING
        try:
            return certificates.load_key(path.read_bytes())
        except (OSError, ValueError):
            key = certificates.new_key()
            _write(path, certificates.key_pem(key))
            return key

    def mesh(self) -> MeshTrust | None:
        """What was last known of the mesh."""
        try:
            fields = orjson.loads((self._directory / _MESH).read_bytes())
            trust.to_der(fields["roots"])
            return MeshTrust(
                str(fields["trust_domain"]),
                str(fields["datacenter"]),
                tuple(map(str, fields["roots"])),
                tuple(map(str, fields["revoked"])),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            logger.warning(
                "stored trust cannot be read", extra={"path": str(self._directory / _MESH), "why": repr(error)}
            )
            return None

    def keep_mesh(self, mesh: MeshTrust) -> None:
        """What is known of the mesh from now on."""
        _write(self._directory / _MESH, orjson.dumps(mesh))

    def leaves(self) -> Sequence[Credential]:
        """All service and gateway credentials that can be read."""
        found = (self._read(path) for path in sorted(self._leaves.glob("*.pem")))
        return [
            credential
            for credential in found
            if credential is not None and credential.identity.id.kind in (IdentityKind.SERVICE, IdentityKind.GATEWAY)
        ]

    def keep_leaf(self, credential: Credential) -> None:
        """One service's or gateway's credential, in place of an older one."""
        _write(self._path(credential.identity.id), credential.pem)

    def forget(self, identity: SpiffeId) -> None:
        """Remove a credential with its key; none there is no error."""
        self._path(identity).unlink(missing_ok=True)

    def _path(self, identity: SpiffeId) -> Path:
        return self._leaves / f"{slug(identity)}.pem"

    def _read(self, path: Path) -> Credential | None:
        try:
            content = path.read_bytes()
            return read_credential(content, content)
        except FileNotFoundError:
            return None
        except (OSError, InvalidCredential) as error:
            logger.warning("stored identity cannot be used", extra={"path": str(path), "why": str(error)})
            return None


def _write(path: Path, content: bytes) -> None:
    try:
        write_private(path, content)
    except OSError as error:
        logger.error("an identity cannot be kept on disk", extra={"path": str(path), "why": str(error)})
