"""A controller's port for hosts over real TLS on loopback, with the store in memory: what identity tests talk to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ops.api.hosts import hosts_app
from ops.api.server import bind, serving
from ops.host_port import server_context
from registry.layout import Layout
from registry.memory import MemoryStore
from registry.names import ServiceName, SpiffeId
from registry.pki import tokens
from registry.pki.authority import Authority, create
from registry.pki.certificates import new_key, now_utc
from registry.pki.issuer import Issuer, Lives
from registry.pki.members import PREFIXES, Members
from registry.pki.requests import make_csr, parse_csr

TRUST_DOMAIN = "test.weft"
DATACENTER = "local"
MESH = Layout("0" * 32, TRUST_DOMAIN, DATACENTER)


@dataclass
class Controller:
    """One controller: its CA, its store, where it answers, and what it knows of the mesh (refreshed by `see`)."""

    authority: Authority
    store: MemoryStore
    issuer: Issuer
    members: Members
    port: int = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def see(self) -> None:
        """Read the mesh, as the controller's follower does."""
        self.members = Members().relist(await self.store.list(*PREFIXES))

    async def token(
        self, *services: str, host: str = "*", uses: int = 1, validity: timedelta = timedelta(hours=1)
    ) -> tokens.Token:
        return await tokens.create(
            self.store,
            root_digest=self.authority.root_digest,
            services=services,
            host=host,
            uses=uses,
            validity=validity,
            now=now_utc().timestamp(),
        )


def make_controller(
    directory: Path,
    *,
    store: MemoryStore | None = None,
    authority: Authority | None = None,
    leaf: timedelta = timedelta(hours=72),
    host: timedelta = timedelta(days=30),
) -> Controller:
    """A controller that does not listen yet."""
    signer = authority or create(directory, trust_domain=TRUST_DOMAIN, now=now_utc())
    kept = store if store is not None else MemoryStore()
    holder: list[Controller] = []
    issuer = Issuer(
        authority=lambda: signer, mesh=MESH, store=kept, members=lambda: holder[0].members, lives=Lives(leaf, host)
    )
    holder.append(Controller(signer, kept, issuer, Members()))
    return holder[0]


@asynccontextmanager
async def answering(controller: Controller, *, port: int = 0) -> AsyncIterator[Controller]:
    """The controller while it serves its port for hosts."""
    key = new_key()
    identity = SpiffeId.of_controller(TRUST_DOMAIN, "ctl-1")
    issued = controller.issuer.sign_controller(parse_csr(make_csr(key, identity)))
    tls = server_context(roots=controller.issuer.roots, chain_pem=issued.chain_pem, key=key)
    async with serving(hosts_app(controller.issuer), bind(f"127.0.0.1:{port}"), tls=tls) as bound:
        controller.port = bound
        yield controller


def service(name: str, namespace: str = "default", *, trust_domain: str = TRUST_DOMAIN) -> SpiffeId:
    """The identity of a service of the test mesh."""
    return SpiffeId.of_service(trust_domain, DATACENTER, ServiceName(namespace, name))


def write_token(directory: Path, token: tokens.Token) -> Path:
    """The token as a file, as an operator leaves it on a host."""
    directory.mkdir(exist_ok=True)
    path = directory / "join-token"
    path.write_text(token.text + "\n")
    return path


def urls(*controllers: Controller) -> Sequence[str]:
    """Where they answer."""
    return [controller.url for controller in controllers]
