"""`make bench`: the engine beside nginx and HAProxy, in one run, and what a large snapshot costs it.

Nothing here is a test: figures of a shared machine move. What is compared was measured in the same round, one proxy after the
other, and is printed with its spread. A bar that is not met is said; the exit code is 0 all the same.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from proxy.ports import PortClaims
from tests.bench import certificates, handshakes, latency, memory, peers, rows, snapshot, table
from tests.bench.memory import Idle
from tests.bench.peers import Running, Upstream, missing
from tests.bench.scenes import Proxies, Scenes

PARTS = ("load", "handshakes", "latency", "memory", "snapshot")
ELSEWHERE = "Envoy and Pingora, and so the bars that are against Envoy alone: HTTP/2, gRPC, memory under mutual TLS"


def main() -> int:
    """Measure what is asked for and possible, and print it."""
    arguments = _arguments()
    if not Path(os.environ.get("WEFT_ENGINE", "")).is_file():
        _say("set WEFT_ENGINE to an engine built with the profile dist, as `make bench` does")
        return 2
    absent = {program: why for program in ("nginx", "haproxy", "wrk", "h2load") if (why := missing(program))}
    if "nginx" in absent:
        _say(f"nothing can be measured: {absent['nginx']} (it is the application behind every proxy, too)")
        return 1
    print(table.machine(), flush=True)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="weft-bench-", dir=_memory_disk())))
        # nginx reads the files as its own user.
        directory.chmod(0o755)
        claims = stack.enter_context(PortClaims())
        pair = certificates.make(directory / "ca")
        ports = Upstream(claims.claim(), claims.claim(), claims.claim())
        application = stack.enter_context(peers.upstream(directory / "upstream", ports=ports, tls=pair.server))
        scenes = Scenes(directory, claims=claims, application=application, pair=pair)
        if "load" in arguments.parts and "wrk" not in absent:
            _show(table.load(_load(scenes, arguments, http2="h2load" not in absent)))
        if "handshakes" in arguments.parts:
            with _all(scenes.inbound()) as proxies:
                _show(table.handshakes(handshakes.measure(proxies, pair=pair, rounds=arguments.rounds)))
        program = latency.generator()
        if "latency" in arguments.parts and "wrk" not in absent and program is not None:
            with _all(scenes.plain()) as proxies:
                rounds, seconds = arguments.rounds, 3 * arguments.seconds
                found = latency.measure(proxies, program=program, rounds=rounds, seconds=seconds, say=_say)
                _show(table.latency(found))
        if "memory" in arguments.parts:
            plain = _idle(scenes.plain(), memory.PLAIN_CONNECTIONS, None)
            secured = _idle(scenes.inbound(), memory.TLS_CONNECTIONS, pair)
            _show(table.memory(plain, secured))
        if "snapshot" in arguments.parts:
            times = snapshot.measure(directory, claims=claims, application=application.plain, rounds=3)
            _show(table.snapshot(times))
    for lacking, why in absent.items():
        print(f"Not measured for want of {lacking}: {why}")
    if program is None:
        print("Not measured without WEFT_OPEN_LOOP, which `make bench` sets: latency")
    print(f"Not measured by this bench: {ELSEWHERE}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="the engine beside nginx and HAProxy")
    parser.add_argument("--rounds", type=int, default=5, help="of the load, default 5")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each proxy and row in a round, default 1")
    parser.add_argument("--only", default="", help="rows of the load whose name has this in it, as in '64 KiB'")
    parser.add_argument("parts", nargs="*", choices=(*PARTS, []), help="what to measure, default all")
    found = parser.parse_args()
    found.parts = found.parts or list(PARTS)
    return found


def _load(scenes: Scenes, arguments: argparse.Namespace, *, http2: bool) -> Sequence[rows.Measured]:
    makers = {
        rows.PLAIN: scenes.plain,
        rows.MUTUAL: scenes.mutual,
        rows.MESH: scenes.mesh,
        rows.HTTP2: scenes.http2,
        rows.GRPC: scenes.grpc,
        rows.TWO: scenes.two_workers,
    }
    works = [work for work in rows.WORKS if arguments.only in str(work) and (work.streams is None or http2)]
    with ExitStack() as stack:
        proxies = {}
        for scene in dict.fromkeys(work.scene for work in works):
            entered = [stack.enter_context(proxy) for proxy in makers[scene]()]
            proxies[scene] = {one.name: one for one in entered}
        return rows.measure(proxies, works, rounds=arguments.rounds, seconds=arguments.seconds, say=_say)


@contextlib.contextmanager
def _all(proxies: Proxies) -> Iterator[Sequence[Running]]:
    with ExitStack() as stack:
        yield [stack.enter_context(proxy) for proxy in proxies]


def _idle(proxies: Proxies, connections: int, pair: certificates.Pair | None) -> Mapping[str, Idle]:
    found = {}
    for maker in proxies:
        with maker as proxy:
            found[proxy.name] = memory.idle(proxy, connections=connections, pair=pair)
    return found


def _memory_disk() -> str | None:
    """Where files cost no disk; None is the usual place for temporary ones."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _show(text: str) -> None:
    print(f"\n{text}\n", flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
