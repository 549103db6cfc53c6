"""The mesh's gateway with ports that pass TLS on, and with ports that take the PROXY protocol.

Beside the plain port `web` of every mesh the gateway has: `passed` (names below `.example.com`), `any` (every name), and
`told` (as `any`), `told-web` (plain) and `told-tls` (its own TLS) that take a PROXY header from `told_by`. The service
`guarded` is bytes here: TLS with a certificate of its own for `db.example.com`, ended by its application.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.certificates import load
from policy.compiled import Access, Forward, Route, Rule, Service, Target, Traffic
from proxy import sections
from proxy.ports import PortClaims
from tests.engine.mesh import GUARDED, Mesh
from tests.gateway.files import issue

NAME = "db.example.com"
PUBLIC_NAME = "shop.example.com"
PUBLIC = "public/edge/told-tls/0"
PORTS = ("passed", "any", "told", "told-web", "told-tls")
PATIENCE = 10.0


class Secret:
    """An application that ends TLS itself, and what stood before each of its connections' TLS."""

    def __init__(self, directory: Path) -> None:
        files = issue(directory, "db")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(files.cert_file, files.key_file)
        self.context.sni_callback = self._asked
        self.certificate = files.cert_file
        self.names: list[str | None] = []
        self.headers: list[bytes] = []
        self.told = False
        """Whether it reads a PROXY header first."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def client(self) -> ssl.SSLContext:
        """A client that believes nothing but its certificate."""
        return trusting(self.certificate)

    def close(self) -> None:
        """Take no more."""
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with contextlib.suppress(OSError), connection:
            if self.told:
                self.headers.append(header(connection))
            with self.context.wrap_socket(connection, server_side=True) as secure:
                while data := secure.recv(65536):
                    secure.sendall(data.upper())

    def _asked(self, _: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        self.names.append(name)


def header(connection: socket.socket) -> bytes:
    """A PROXY header, to its last byte."""
    data = _exactly(connection, 6)
    if data == b"PROXY ":
        while not data.endswith(b"\r\n"):
            data += _exactly(connection, 1)
        return data
    data += _exactly(connection, 10)
    return data + _exactly(connection, int.from_bytes(data[14:16]))


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = connection.recv(count - len(data))
        if not chunk:
            raise EOFError(f"the connection ended after {data!r}")
        data += chunk
    return data


@dataclass
class Edge:
    """A mesh with such a gateway. `serve` makes what is set here so."""

    mesh: Mesh
    ports: dict[str, int]
    secret: Secret
    told_by: tuple[str, ...] = ("127.0.0.1/32",)
    traffic: Traffic = field(default_factory=Traffic)
    access: Access = field(default_factory=Access)
    routes: tuple[Route, ...] = ()
    outside: bool = False
    """Whether the service is outside the mesh: its application is spoken to in plain, at its own address."""
    public: ssl.SSLContext = field(default_factory=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    """A client that believes nothing but the gateway's own certificate."""

    def serve(self) -> None:
        """Publish it; refused is a failure."""
        assert self.mesh.hosts[0].writer.apply(self._snapshot()).refused == ()

    def _snapshot(self) -> dict[str, object]:
        mesh, listener = self.mesh, sections.GatewayListener
        mesh.services[GUARDED] = Service("tcp", traffic=self.traffic, access=self.access)
        mesh.endpoints[GUARDED] = (replace(mesh.endpoint("guarded-1"), port=self.secret.port),)
        snapshot = mesh.snapshot()
        if self.outside:
            endpoint = replace(mesh.endpoint("guarded-1"), host="elsewhere", address=f"127.0.0.1:{self.secret.port}")
            snapshot[sections.endpoints(GUARDED)] = sections.Endpoints((endpoint,), outside=True)
        snapshot[sections.gateway("edge")] = sections.Gateway(
            listeners={
                "web": listener("http"),
                "passed": listener("tls", hosts=("*.example.com",)),
                "any": listener("tls"),
                "told": listener("tls", proxy_protocol_from=self.told_by),
                "told-web": listener("http", proxy_protocol_from=self.told_by),
                "told-tls": listener("https", certificates=(PUBLIC,), proxy_protocol_from=self.told_by),
            },
            routes=mesh.gateway_routes,
            passthrough=self.routes or (to_secret("shop/db", 0, NAME),),
        )
        for name, port in self.ports.items():
            snapshot[sections.public(name)] = sections.Public(f"127.0.0.1:{port}", "edge", name)
        return snapshot

    def reset(self) -> None:
        """As it was at its start."""
        self.told_by, self.traffic, self.access, self.routes = ("127.0.0.1/32",), Traffic(), Access(), ()
        self.outside = False
        self.secret.told = False
        self.secret.names.clear()
        self.secret.headers.clear()
        self.serve()

    def withdraw(self) -> None:
        """Let the service have no instance."""
        snapshot = {**self._snapshot(), sections.endpoints(GUARDED): sections.Endpoints()}
        assert self.mesh.hosts[0].writer.apply(snapshot).refused == ()

    def only(self, *callers: str) -> None:
        """Let nobody else call the service."""
        self.access = Access(rules=(Rule("doc/1", "allow", callers=callers),))
        self.serve()

    def connect(self, port: str = "passed") -> socket.socket:
        """A connection to one of the gateway's ports."""
        connection = socket.create_connection(("127.0.0.1", self.ports[port]), timeout=PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def said(self, connection: socket.socket, name: str | None = NAME, word: bytes = b"word") -> bytes:
        """What the application says to a word, over TLS that ends there; raises `ssl.SSLError` where it does not."""
        context = self.secret.client()
        if name is None:
            context.check_hostname = False
        with connection, context.wrap_socket(connection, server_hostname=name) as secure:
            secure.sendall(word)
            return secure.recv(65536)

    def metric(self, name: str, *labels: str) -> float:
        """The sum of the series of a metric with all of these labels."""
        host, port = self.mesh.engine.admin.split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        found = [line for line in text.splitlines() if line.startswith(name) and all(one in line for one in labels)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    def counts(self, more: int, name: str, *labels: str) -> Counting:
        """In its scope a metric rises by so much, and not later than a while after."""
        return Counting(self, more, name, labels)


@dataclass
class Counting:
    """A scope in which a metric must rise: counting comes after answering, and is waited for."""

    edge: Edge
    more: int
    name: str
    labels: tuple[str, ...]
    before: float = 0

    def __enter__(self) -> None:
        self.before = self.edge.metric(self.name, *self.labels)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        end = time.monotonic() + PATIENCE
        while (now := self.edge.metric(self.name, *self.labels)) != self.before + self.more:
            assert time.monotonic() < end, f"{self.name}{self.labels}: {self.before:g} + {self.more}, found {now:g}"
            time.sleep(0.01)


def trusting(certificate: str) -> ssl.SSLContext:
    """A client that believes nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    return context


def to_secret(name: str, rank: int, *hosts: str) -> Route:
    """The rule of a gateway that leads these server names to the application."""
    return Route(name, rank, Forward(to=(Target(str(GUARDED)),)), hosts=hosts)


@contextlib.contextmanager
def serving(mesh: Mesh, directory: Path) -> Iterator[Edge]:
    """The mesh with such a gateway, for the length of a scope."""
    secret = Secret(directory)
    with PortClaims() as claims, contextlib.closing(secret):
        edge = Edge(mesh, {port: claims.claim() for port in PORTS}, secret)
        public = issue(directory, "shop")
        credential = load(Path(public.cert_file), Path(public.key_file))
        mesh.hosts[0].writer.identify({PUBLIC: credential}, mesh.trust())
        edge.public = trusting(public.cert_file)
        edge.serve()
        yield edge
