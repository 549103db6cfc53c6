"""How long answers take at a rate that does not depend on them: at two fifths of what the better peer can do.

The generator is an example of the engine's workspace, built beside it; it counts from when a request was meant to be sent.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.meter import LoadError, Spread, drive
from tests.bench.peers import Running
from tests.bench.rows import ENGINE

SHARE = 0.4
"""Of the requests a second that the better peer completes when it is driven as hard as it can be."""

CONNECTIONS = 64
PATH = "/36"


@dataclass(frozen=True, slots=True)
class Latency:
    """Microseconds by proxy, round for round, at `rate` requests a second."""

    rate: float
    p50: Mapping[str, Sequence[float]]
    p99: Mapping[str, Sequence[float]]

    @staticmethod
    def ratio(found: Mapping[str, Sequence[float]]) -> Spread | None:
        """The engine's median over that of the best peer; None without a peer."""
        peers = {name: median(values) for name, values in found.items() if name != ENGINE}
        if not peers:
            return None
        best = min(peers, key=lambda name: peers[name])
        rounds = [own / other for own, other in zip(found[ENGINE], found[best], strict=True)]
        return Spread(min(rounds), median(found[ENGINE]) / peers[best], max(rounds))


def generator() -> Path | None:
    """The program, if it was built."""
    path = Path(os.environ.get("WEFT_OPEN_LOOP", ""))
    return path if path.is_file() else None


def measure(
    proxies: Sequence[Running], *, program: Path, rounds: int, seconds: float, say: Callable[[str], None]
) -> Latency:
    """Find the rate, then drive every proxy at it in turn, `rounds` times."""
    saturated = [
        drive(proxy.url + PATH[1:], pids=proxy.pids, connections=CONNECTIONS, seconds=1.0).per_second
        for proxy in proxies
        if proxy.name != ENGINE
    ]
    rate = SHARE * max(saturated, default=20_000.0)
    p50: dict[str, list[float]] = {proxy.name: [] for proxy in proxies}
    p99: dict[str, list[float]] = {proxy.name: [] for proxy in proxies}
    for number in range(rounds):
        say(f"latency, round {number + 1} of {rounds}")
        turn = number % len(proxies)
        for proxy in (*proxies[turn:], *proxies[:turn]):
            middle, tail = _run(program, proxy, rate, seconds)
            p50[proxy.name].append(middle)
            p99[proxy.name].append(tail)
    return Latency(rate, p50, p99)


def _run(program: Path, proxy: Running, rate: float, seconds: float) -> tuple[float, float]:
    command = [str(program), f"127.0.0.1:{proxy.port}", PATH, f"{rate:.0f}", f"{seconds:g}", str(CONNECTIONS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 30)
    if done.returncode != 0:
        raise LoadError(f"{command}: {done.stderr}")
    p50, p99, *_ = (float(word) for word in done.stdout.split())
    return p50, p99
