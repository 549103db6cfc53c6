"""A peer engine that is frozen: found out in a second, with every connection to it, and used again when it lives."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from policy.compiled import Service, Traffic
from tests.engine.client import get
from tests.engine.mesh import API, Mesh, running
from tests.engine.pair import FAST, NEVER, one
from tests.support import http2

SOON = 6.0
"""Far less than any other time-out here."""


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two engines that ask each other for signs of life all the time; two instances of api are on the second."""
    config = '[bounds.http2]\nping_interval = "400ms"\nping_timeout = "400ms"\n'
    with running(tmp_path_factory.mktemp("mesh"), hosts=2, instances=("api-2", "api-3"), config=config) as mesh:
        yield mesh


@contextmanager
def _frozen(mesh: Mesh) -> Iterator[None]:
    pid = mesh.hosts[1].engine.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_frozen_peer_is_found_out_and_its_host_given_up_on(far: Mesh) -> None:
    far.reset()
    far.services[API] = Service(traffic=Traffic(balance="round_robin", retry=FAST, outlier=NEVER, timeout_ms=60_000))
    far.endpoints[API] = tuple(far.endpoint(instance, host=1) for instance in ("api-2", "api-3"))
    far.publish()
    engine, port = far.engine, far.outbound().port
    with http2.connected(port) as client:
        # Both kinds of connections, to both instances.
        for stream in (1, 3, 5, 7):
            client.send(http2.headers(stream, http2.request("/")))
            client.until(http2.HEADERS, stream)
        for _ in range(4):
            assert one(far.outbound(), get()).status == 200
        dead = engine.metric("weft_dead_peers_total")
        with _frozen(far):
            began = time.monotonic()
            client.send(http2.headers(9, http2.request("/", method="POST")))
            client.until(http2.HEADERS, 9)
            assert time.monotonic() - began < SOON
        assert engine.metric("weft_dead_peers_total") > dead
    # Nothing of before is used again, whichever instance it led to.
    opened = engine.metric("weft_upstream_connections_total", 'how="opened"')
    for _ in range(2):
        assert one(far.outbound(), get()).status == 200
    assert engine.metric("weft_upstream_connections_total", 'how="opened"') == opened + 2
