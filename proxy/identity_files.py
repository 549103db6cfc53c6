"""Identities from files: for a mesh without controllers, whose CA's key never comes to a host (DESIGN.md section 8).

The host makes its keys and writes requests; people carry those to the CA (`weft ca sign CSR --services …`) and bring the
certificates back. Below the directory:

    trust/*.pem              the roots to believe (`root.pem` of the CA)
    keys/NAME.key            made here, never read by people; NAME is `api.shop` for a service, `edge.gateway` for a gateway
    requests/NAME.csr        what to sign
    certificates/NAME.pem    what came back: the chain, leaf first

Files are looked at every second and taken as soon as they are whole; one that cannot be used changes nothing, and
`problems` says what is missing and where it belongs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from cryptography import x509

from proxy.credential_files import MeshTrust, slug
from proxy.credentials import Change, Credential, Held, InvalidCredential, Trust, read_credential
from proxy.identity import Clock
from registry.names import SpiffeId
from registry.pki import certificates
from registry.pki.errors import IdentityRefusedError
from registry.pki.files import private_directory, write_private, write_public
from registry.pki.requests import make_csr

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0


class FileIdentities:
    """What a host can prove, by files. One `run` per object."""

    def __init__(self, directory: Path, *, clock: Clock = certificates.now_utc, look_every: float = LOOK_EVERY) -> None:
        self._clock = clock
        self._look_every = look_every
        private_directory(directory)
        self._trust, self._keys, self._requests, self._certificates = (
            private_directory(directory / name) for name in ("trust", "keys", "requests", "certificates")
        )
        self._held = Held()
        self._wanted: frozenset[SpiffeId] = frozenset()
        self._problems: dict[SpiffeId, str] = {}
        self._read_trust()

    def __repr__(self) -> str:
        return f"FileIdentities(held={self._held!r}, problems={len(self._problems)})"

    @property
    def mesh(self) -> MeshTrust | None:
        """Files say nothing of the mesh's names: they are configured."""
        return None

    @property
    def problems(self) -> Mapping[SpiffeId, str]:
        """Who waits for a certificate, and which file would help."""
        return dict(self._problems)

    def want(self, wanted: frozenset[SpiffeId]) -> None:
        """The whole set of service and gateway identities that this host needs now; keys of others stay on disk."""
        self._wanted = wanted
        self._held.keep(wanted)
        self._look()

    async def changes(self) -> AsyncIterator[Change]:
        """What is held first, trust before identities, then every change; for any number of readers."""
        async for change in self._held.changes():
            yield change

    async def run(self) -> None:
        """Look at the files, for ever."""
        while True:
            self._read_trust()
            self._look()
            await asyncio.sleep(self._look_every)

    def _look(self) -> None:
        problems: dict[SpiffeId, str] = {}
        for identity in sorted(self._wanted):
            try:
                credential = self._read(identity)
            except (InvalidCredential, OSError) as error:
                problems[identity] = str(error)
                continue
            known = self._held.get(identity)
            if known is None or known.serial != credential.identity.serial:
                self._held.put(credential.identity)
        for identity in problems.keys() - self._problems.keys():
            logger.warning("no certificate", extra={"identity": str(identity), "why": problems[identity]})
        self._problems = problems

    def _read(self, identity: SpiffeId) -> Credential:
        """The credential in the files; raises `InvalidCredential` that says what to do."""
        name = slug(identity)
        chain, request = self._certificates / f"{name}.pem", self._requests / f"{name}.csr"
        key = self._key(identity, request)
        fix = f"sign {request} (weft ca sign {request.name} --services …) and put the answer at {chain}"
        try:
            credential = read_credential(chain.read_bytes(), key)
        except FileNotFoundError as error:
            raise InvalidCredential(f"no certificate: {fix}") from error
        except InvalidCredential as error:
            raise InvalidCredential(f"{chain}: {error}: {fix}") from error
        if credential.identity.id != identity:
            raise InvalidCredential(f"{chain} is for {credential.identity.id}, not for {identity}: {fix}")
        if credential.identity.not_after <= self._clock():
            raise InvalidCredential(f"{chain} ended at {credential.identity.not_after.isoformat()}: {fix}")
        return credential

    def _key(self, identity: SpiffeId, request: Path) -> bytes:
        """The key of an identity, made with its request where there is none."""
        path = self._keys / f"{slug(identity)}.key"
        try:
            content = path.read_bytes()
            key = certificates.load_key(content)
        except (FileNotFoundError, ValueError):
            key = certificates.new_key()
            content = certificates.key_pem(key)
            write_private(path, content)
            request.unlink(missing_ok=True)
        if not request.exists():
            write_public(request, make_csr(key, identity))
        return content

    def _read_trust(self) -> None:
        """Believe every root in `trust/`; with none that can be read, what was believed stays."""
        bundles: dict[str, tuple[bytes, ...]] = {}
        for path in sorted(self._trust.glob("*.pem")):
            try:
                for root in x509.load_pem_x509_certificates(path.read_bytes()):
                    domain = certificates.trust_domain_of(root)
                    bundles[domain] = (*bundles.get(domain, ()), certificates.der(root))
            except (OSError, ValueError, IdentityRefusedError) as error:
                logger.warning("a root cannot be used", extra={"file": str(path), "why": str(error)})
        if bundles:
            self._held.trust(Trust(bundles))
