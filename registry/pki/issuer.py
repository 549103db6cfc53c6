"""What a controller does for hosts: let them join, and sign who they are. Any controller can, leader or not.

With which authority it signs is asked anew every time. It decides from what it has at hand: `members` gives the mesh as last seen, and only a host that is missing there is
looked up in the store (another controller may have let it in a moment ago). So hosts already known go on getting
certificates while etcd is away. How it fails: a refusal of `registry/pki/errors.py`; `StoreUnavailableError` where only
the store could tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from registry import keys
from registry.layout import Layout
from registry.names import IdentityKind, SpiffeId, check_name
from registry.pki import roster, tokens
from registry.pki.authority import HOST_LIFE, SERVICE_LIFE, Authority, Issued
from registry.pki.certificates import now_utc
from registry.pki.errors import IdentityRefusedError
from registry.pki.members import Members
from registry.pki.requests import SigningRequest, parse_csr
from registry.store import Store


@dataclass(frozen=True, slots=True)
class Lives:
    """How long certificates live: those of services and gateways, and those of hosts and controllers."""

    leaf: timedelta = SERVICE_LIFE
    host: timedelta = HOST_LIFE


@dataclass(frozen=True, slots=True)
class Peer:
    """Who speaks on a connection, as its verified certificate says."""

    identity: SpiffeId
    serial: str


class Issuer:
    """Signs for the hosts of one mesh."""

    def __init__(
        self,
        *,
        authority: Callable[[], Authority],
        mesh: Layout,
        store: Store,
        members: Callable[[], Members],
        lives: Lives,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        self._authority = authority
        self._store = store
        self._members = members
        self._lives = lives
        self._clock = clock
        self.mesh = mesh

    @property
    def roots(self) -> tuple[str, ...]:
        """What hosts shall trust; our own root, as long as the mesh's bundle is unknown."""
        return self._members().roots or (self._authority().root_pem,)

    @property
    def revoked(self) -> tuple[str, ...]:
        """What hosts shall not trust in spite of its signature."""
        return self._members().revoked

    async def join(self, *, token: str, host: str, csr: str) -> Issued:
        """Spend the token, put the host on the roster, sign its host identity. Raises `InvalidName` for a bad host name."""
        request = parse_csr(csr)
        expected = SpiffeId.of_host(self.mesh.trust_domain, check_name(host, what="host"))
        if request.identity != expected:
            raise IdentityRefusedError(
                "invalid_csr", f"host {host} must ask for {expected}, not for {request.identity}"
            )
        now = self._clock()
        await tokens.spend(
            self._store, tokens.Token.parse(token), host=host, key_digest=request.key_digest, now=now.timestamp()
        )
        return self._sign(request)

    async def sign(self, peer: Peer, csr: str) -> Issued:
        """Sign what a host asks for, if its roster entry allows it."""
        host = await self._check_peer(peer)
        request = parse_csr(csr)
        roster.check_entitlement(
            host.name,
            host.entry.services,
            request.identity,
            trust_domain=self.mesh.trust_domain,
            datacenter=self.mesh.datacenter,
        )
        return self._sign(request)

    def sign_controller(self, request: SigningRequest) -> Issued:
        """This controller's own server certificate."""
        return self._sign(request)

    def _sign(self, request: SigningRequest) -> Issued:
        of_mesh = request.identity.kind in (IdentityKind.SERVICE, IdentityKind.GATEWAY)
        life = self._lives.leaf if of_mesh else self._lives.host
        return self._authority().sign(request.public, request.identity, now=self._clock(), life=life)

    async def _check_peer(self, peer: Peer) -> _Host:
        if peer.identity.kind is not IdentityKind.HOST or peer.identity.trust_domain != self.mesh.trust_domain:
            raise IdentityRefusedError("not_a_host", f"{peer.identity} is no host of {self.mesh.trust_domain}")
        if peer.serial in self.revoked:
            raise IdentityRefusedError(
                "certificate_revoked", f"the certificate {peer.serial} of {peer.identity} is revoked"
            )
        name = peer.identity.last
        entry = self._members().entry(name)
        if entry is None:
            item = await self._store.get(keys.roster(name))
            entry = roster.decode(item.value) if item is not None else None
        if entry is None:
            raise IdentityRefusedError("host_unknown", f"host {name} is not on the roster of {self.mesh.trust_domain}")
        return _Host(name, entry)


@dataclass(frozen=True, slots=True)
class _Host:
    name: str
    entry: roster.RosterEntry
