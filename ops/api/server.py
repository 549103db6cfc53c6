"""uvicorn as a scope of an asyncio program, and who is at the other end of a TLS connection.

uvicorn takes signals for itself, exits the process when it cannot listen, and hands the application no peer
certificate. Here the socket is bound by the caller, signals stay with the caller, and `scope["weft.peer"]` is the verified
`Peer`, None where there was no certificate, or an `InvalidName` for one that names nobody.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from registry.names import InvalidName
from registry.pki.certificates import only_spiffe_id
from registry.pki.issuer import Peer

PEER = "weft.peer"
BACKLOG = 1024
GRACE = 3  # seconds that open requests have when the scope is left


class _Server(uvicorn.Server):
    """A server that leaves signals alone and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class _PeerProtocol(H11Protocol):
    """Tells the application who is calling."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        found = peer_of(transport.get_extra_info("ssl_object"))
        application = self.app

        async def with_peer(scope: Scope, receive: Receive, send: Send) -> None:
            await application({**scope, PEER: found}, receive, send)

        self.app = with_peer


def peer_of(connection: ssl.SSLObject | None) -> Peer | InvalidName | None:
    """The verified caller of a connection."""
    certificate = connection.getpeercert() if connection is not None else None
    if not certificate:
        return None
    names = certificate.get("subjectAltName", ())
    try:
        identity = only_spiffe_id([str(entry[1]) for entry in names if entry[0] == "URI"])
    except InvalidName as error:
        return error
    return Peer(identity, str(certificate["serialNumber"]).lower().lstrip("0"))


def bind(listen: str) -> socket.socket:
    """A listening TCP socket on `host:port`; port 0 takes any. Raises `OSError`, naming the address."""
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), int(port)))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {listen}: {error.strerror}") from error
    return listener


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve `app` on the socket until the scope is left; yields the port once it answers."""
    config = uvicorn.Config(
        app,
        http=_PeerProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE,
        ssl_context_factory=(lambda *_: tls) if tls is not None else None,
    )
    server = _Server(config)
    port = int(listener.getsockname()[1])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve(sockets=[listener]))
        await server.ready.wait()
        try:
            yield port
        finally:
            server.should_exit = True
            await asyncio.shield(task)
