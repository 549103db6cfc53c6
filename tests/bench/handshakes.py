"""What a TLS handshake costs a proxy: full, and resumed by a ticket, each with one request behind it.

The client is Python's ssl and slower than what it measures, so what is counted is the proxy's CPU time: how many handshakes one
core of it does in a second. Client certificates are asked for, as between engines.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.certificates import Pair
from tests.bench.memory import ask, context
from tests.bench.meter import LoadError, Spread, cpu_seconds
from tests.bench.peers import Running

COUNT = 150
"""Handshakes of each kind in a round."""


@dataclass(frozen=True, slots=True)
class Handshakes:
    """A second of one core's, by proxy."""

    full: Mapping[str, Spread]
    resumed: Mapping[str, Spread]


def measure(proxies: Sequence[Running], *, pair: Pair, rounds: int) -> Handshakes:
    """Every proxy in turn, `rounds` times."""
    full: dict[str, list[float]] = {proxy.name: [] for proxy in proxies}
    resumed: dict[str, list[float]] = {proxy.name: [] for proxy in proxies}
    for _ in range(rounds):
        for proxy in proxies:
            full[proxy.name].append(_run(proxy, pair, resumes=False))
            resumed[proxy.name].append(_run(proxy, pair, resumes=True))
    return Handshakes(
        {name: Spread.of(found) for name, found in full.items()},
        {name: Spread.of(found) for name, found in resumed.items()},
    )


def _run(proxy: Running, pair: Pair, *, resumes: bool) -> float:
    shown = context(pair.client)
    session = _shake(proxy, pair, shown, None)
    before = cpu_seconds(proxy.pids)
    for _ in range(COUNT):
        session = _shake(proxy, pair, shown, session if resumes else None)
    return COUNT / (cpu_seconds(proxy.pids) - before)


def _shake(proxy: Running, pair: Pair, shown: ssl.SSLContext, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """One connection; returns the ticket it got, which comes with the first answer."""
    with (
        socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as plain,
        shown.wrap_socket(plain, server_hostname=pair.server.server_name, session=session) as stream,
    ):
        ask(stream)
        if bool(stream.session_reused) != (session is not None):
            raise LoadError(f"{proxy.name} did not do the handshake that was measured")
        return stream.session
