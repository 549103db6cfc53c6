"""Proxies in front of the same application, ready to be entered: in plain, over mutual TLS, and the way a mesh request takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from proxy.ports import PortClaims
from tests.bench import engine, peers
from tests.bench.certificates import Pair
from tests.bench.peers import Running, Upstream, missing

ONE_WORKER = "one worker"
"""The name of an engine that is a peer of another."""

Proxies = Iterator[AbstractContextManager[Running]]


class Scenes:
    """Makes every proxy there is for one application; none runs before it is entered."""

    def __init__(self, directory: Path, *, claims: PortClaims, application: Upstream, pair: Pair) -> None:
        self._directory = directory
        self._claims = claims
        self._application = application
        self._pair = pair
        self._haproxy = missing("haproxy") is None
        self._made = 0

    def plain(self) -> Proxies:
        """In front of the application in plain."""
        port = self._application.plain
        yield engine.plain_proxy(self._place(), claims=self._claims, upstream_port=port)
        yield peers.nginx_proxy(self._place(), port=self._claims.claim(), upstream_port=port)
        if self._haproxy:
            yield peers.haproxy(self._place(), port=self._claims.claim(), upstream_port=port)

    def http2(self) -> Proxies:
        """In front of the application in plain, spoken to in HTTP/2 without TLS."""
        port = self._application.plain
        yield engine.plain_proxy(self._place(), claims=self._claims, upstream_port=port)
        yield peers.nginx_proxy(self._place(), port=self._claims.claim(), upstream_port=port, http2=True)
        if self._haproxy:
            yield peers.haproxy(self._place(), port=self._claims.claim(), upstream_port=port, http2=True)

    def grpc(self) -> Proxies:
        """In front of an application of gRPC, without TLS."""
        port = self._application.grpc
        yield engine.plain_proxy(self._place(), claims=self._claims, upstream_port=port, protocol="grpc")
        yield peers.nginx_proxy(self._place(), port=self._claims.claim(), upstream_port=port, grpc=True)
        if self._haproxy:
            yield peers.haproxy(self._place(), port=self._claims.claim(), upstream_port=port, grpc=True)

    def two_workers(self) -> Proxies:
        """The engine with two workers, and with one as its only peer."""
        port = self._application.plain
        yield engine.plain_proxy(self._place(), claims=self._claims, upstream_port=port, workers=2)
        yield engine.plain_proxy(self._place(), claims=self._claims, upstream_port=port, name=ONE_WORKER)

    def mutual(self) -> Proxies:
        """In front of the application over mutual TLS."""
        port, client = self._application.tls, self._pair.client
        yield engine.caller(self._place(), claims=self._claims, upstream_port=port, client=client)
        yield peers.nginx_proxy(self._place(), port=self._claims.claim(), upstream_port=port, tls=client)
        if self._haproxy:
            yield peers.haproxy(self._place(), port=self._claims.claim(), upstream_port=port, tls=client)

    def inbound(self) -> Proxies:
        """Taking mutual TLS, the application in plain behind."""
        port, server = self._application.plain, self._pair.server
        yield engine.called(self._place(), claims=self._claims, upstream_port=port, server=server)
        yield peers.nginx_proxy(self._place(), port=self._claims.claim(), upstream_port=port, listen=server)
        if self._haproxy:
            yield peers.haproxy(self._place(), port=self._claims.claim(), upstream_port=port, listen=server)

    def mesh(self) -> Proxies:
        """Two of a kind with mutual TLS between them: the way a request of the mesh takes."""
        yield self._engines()
        if self._haproxy:
            yield self._haproxies()

    @contextlib.contextmanager
    def _engines(self) -> Iterator[Running]:
        port, pair = self._application.plain, self._pair
        with (
            engine.called(self._place(), claims=self._claims, upstream_port=port, server=pair.server) as far,
            engine.caller(self._place(), claims=self._claims, upstream_port=far.port, client=pair.client) as near,
        ):
            yield Running(near.name, near.port, (*near.pids, *far.pids))

    @contextlib.contextmanager
    def _haproxies(self) -> Iterator[Running]:
        port, pair, claim = self._application.plain, self._pair, self._claims.claim
        with (
            peers.haproxy(self._place(), port=claim(), upstream_port=port, listen=pair.server) as far,
            peers.haproxy(self._place(), port=claim(), upstream_port=far.port, tls=pair.client) as near,
        ):
            yield Running(near.name, near.port, (*near.pids, *far.pids))

    def _place(self) -> Path:
        self._made += 1
        return self._directory / f"proxy-{self._made}"
