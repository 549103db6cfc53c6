"""Identities as an engine takes them, and telling everybody who listens what changed.

`Held` is level-triggered: it has no queue. Whoever iterates `changes()` gets the difference between what he was told
and what is true now, however far behind he is, so a slow reader skips what no longer matters and misses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from registry.names import InvalidName, SpiffeId
from registry.pki import certificates


class InvalidCredential(ValueError):
    """A certificate with its key that cannot be used. The message says why."""

    code = "invalid_credential"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this host can prove to be: the chain in DER, leaf first, and the key as PKCS #8 DER."""

    id: SpiffeId
    chain: tuple[bytes, ...]
    key: bytes = field(repr=False)
    serial: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Forgotten:
    """This host is `id` no longer."""

    id: SpiffeId


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe: the roots of each trust domain in DER, and the serials that are revoked all the same."""

    bundles: Mapping[str, tuple[bytes, ...]]
    revoked: tuple[str, ...] = ()


Change = Identity | Forgotten | Trust


@dataclass(frozen=True, slots=True)
class Credential:
    """An identity with what renewing it needs: when it was issued, and its PEM for the disk (chain, then key)."""

    identity: Identity
    issued: datetime
    pem: bytes = field(repr=False)


def read_credential(chain_pem: bytes, key_pem: bytes) -> Credential:
    """A chain and its key as a credential; raises `InvalidCredential` where they do not belong together."""
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
        key = certificates.load_key(key_pem)
        identity = certificates.spiffe_id_of(chain[0])
    except InvalidName as error:
        raise InvalidCredential(f"the certificate names nobody: {error}") from error
    except (ValueError, TypeError) as error:
        raise InvalidCredential(f"the certificate or its key cannot be read: {error}") from error
    if chain[0].public_key() != key.public_key():
        raise InvalidCredential(f"the certificate of {identity} is for another key")
    issued, ends = certificates.lifetime(chain[0])
    held = Identity(
        identity,
        tuple(certificates.der(certificate) for certificate in chain),
        certificates.key_der(key),
        certificates.serial_of(chain[0]),
        ends,
    )
    return Credential(held, issued, chain_pem + key_pem)


class Held:
    """What this host can prove and whom it believes, now."""

    def __init__(self) -> None:
        self._identities: dict[SpiffeId, Identity] = {}
        self._trust: Trust | None = None
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"Held({', '.join(str(identity) for identity in sorted(self._identities))})"

    def get(self, identity: SpiffeId) -> Identity | None:
        """The identity, if it is held."""
        return self._identities.get(identity)

    def put(self, identity: Identity) -> None:
        """A new certificate, in place of an older one."""
        self._identities[identity.id] = identity
        self._wake()

    def keep(self, wanted: Iterable[SpiffeId]) -> list[SpiffeId]:
        """Forget all others; returns them."""
        kept = frozenset(wanted)
        gone = [identity for identity in self._identities if identity not in kept]
        for identity in gone:
            del self._identities[identity]
        if gone:
            self._wake()
        return gone

    def trust(self, trust: Trust) -> None:
        """Whom to believe from now on."""
        if trust != self._trust:
            self._trust = trust
            self._wake()

    async def changes(self) -> AsyncIterator[Change]:
        """What is held first, trust before identities, then every change; never ends by itself."""
        told: dict[SpiffeId, str] = {}
        believed: Trust | None = None
        while True:
            changed = self._changed
            trust, identities = self._trust, dict(self._identities)
            if trust is not None and trust != believed:
                believed = trust
                yield trust
            for forgotten in [identity for identity in told if identity not in identities]:
                del told[forgotten]
                yield Forgotten(forgotten)
            for identity in identities.values():
                if told.get(identity.id) != identity.serial:
                    told[identity.id] = identity.serial
                    yield identity
            await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
