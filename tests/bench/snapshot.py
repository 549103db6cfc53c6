"""How fast an engine takes a large snapshot: from nothing, one section of it, and from disk at its start."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from policy.compiled import Forward, Match, Prefix, Route, Service, Target
from proxy import sections
from proxy.ports import PortClaims
from registry.names import ServiceName
from tests.bench import engine
from tests.bench.certificates import CALLER
from tests.bench.meter import Spread

SERVICES, ROUTES, ENDPOINTS = 500, 20, 100
"""10,000 routes and 50,000 endpoints altogether."""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds."""

    apply: Spread
    change: Spread
    start: Spread


def measure(directory: Path, *, claims: PortClaims, application: int, rounds: int) -> Times:
    """Apply, change and restart `rounds` times, each with a new process. `application` is a port that answers `/36`."""
    whole, changes, starts = [], [], []
    for number in range(rounds):
        port = claims.claim()
        with engine.running(directory / f"snapshot-{number}", claims=claims) as running:
            whole.append(running.apply(_everything(port, application)) * 1000)
            for turn in range(10):
                name = _service(turn)
                changed = {sections.endpoints(name): _endpoints(turn, ENDPOINTS + 1)}
                changes.append(running.apply(changed) * 1000)
            running.stop()
            began = time.perf_counter()
            running.start()
            _first_answer(port)
            starts.append((time.perf_counter() - began) * 1000)
    return Times(Spread.of(whole), Spread.of(changes), Spread.of(starts))


def _service(number: int) -> ServiceName:
    return ServiceName("bench", f"service-{number}")


def _everything(port: int, application: int) -> dict[str, object]:
    """All services, and one listener that leads to the application, to hear the first answer."""
    found: dict[str, object] = {}
    for number in range(SERVICES):
        found[sections.service(_service(number))] = Service(routes=tuple(_routes(number)))
        found[sections.endpoints(_service(number))] = _endpoints(number, ENDPOINTS)
    here = sections.Endpoint("plain-1", "elsewhere", f"127.0.0.1:{application}", 0, 100, "", {}, "up")
    found[sections.service(engine.OUTSIDE)] = Service()
    found[sections.endpoints(engine.OUTSIDE)] = sections.Endpoints((here,), outside=True)
    listener = sections.Outbound(f"127.0.0.1:{port}", str(CALLER), str(engine.OUTSIDE))
    found[sections.outbound(CALLER, engine.OUTSIDE)] = listener
    return found


def _routes(number: int) -> Iterator[Route]:
    for rank in range(ROUTES):
        action = Forward(to=(Target(str(_service(number))),))
        yield Route(f"document/{rank}", rank, action, matches=(Match(path=Prefix(f"/part-{rank}")),))


def _endpoints(number: int, count: int) -> sections.Endpoints:
    return sections.Endpoints(
        tuple(
            sections.Endpoint(
                f"i-{one}",
                f"host-{one}",
                f"10.{number // 250}.{number % 250}.{one + 1}:7502",
                0,
                100,
                "rack-1",
                {"version": "v1"},
                "up",
            )
            for one in range(count)
        )
    )


def _first_answer(port: int, *, within: float = 30.0) -> None:
    """Ask until there is an answer; the first connection that is accepted is asked on."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
            stream.sendall(b"GET /36 HTTP/1.1\r\nHost: api\r\n\r\n")
            if stream.recv(4096).startswith(b"HTTP/1.1 200"):
                return
        time.sleep(0.001)
    raise RuntimeError(f"no answer from port {port} within {within:g} s of the start")
