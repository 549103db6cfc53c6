"""What is measured under load, and the bars it is measured against.

Every round drives every row through every proxy in turn, so that whatever else the machine does falls on all of them. A bar is
the engine's median over that of the better peer; the spread is that of the rounds, each against the same peer in the same round.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.meter import Sample, Spread, drive, drive_http2
from tests.bench.peers import Running

ENGINE = "engine"


@dataclass(frozen=True, slots=True)
class Work:
    """Keep-alive GETs for `size` bytes. `cpu` and `rate` are bars, None where there is none.

    Of HTTP/2 `streams` at once on each connection, gRPC's POSTs where the scene is gRPC's. `against` is whom the bars are
    against, where it is not the better of all.
    """

    name: str
    scene: str
    size: int
    connections: int
    cpu: float | None
    rate: float | None = None
    streams: int | None = None
    against: str | None = None

    def __str__(self) -> str:
        streams = "" if self.streams is None else f" x {self.streams} streams"
        return f"{self.scene}, {self.name}, {self.connections} connections{streams}"

    def drive(self, proxy: Running, *, seconds: float) -> Sample:
        """One round of it."""
        url = f"{proxy.url}{self.size}"
        if self.streams is None:
            return drive(url, pids=proxy.pids, connections=self.connections, seconds=seconds)
        return drive_http2(
            url,
            pids=proxy.pids,
            connections=self.connections,
            seconds=seconds,
            streams=self.streams,
            grpc=self.scene == GRPC,
        )


PLAIN, MUTUAL, MESH = "plain", "mutual TLS upstream", "whole mesh path"
HTTP2, GRPC, TWO = "HTTP/2 in, HTTP/1.1 out", "gRPC unary, in and out", "two workers against one"

WORKS = (
    Work("36 B", PLAIN, 36, 32, cpu=0.9, rate=1.0),
    Work("36 B", PLAIN, 36, 256, cpu=0.9, rate=1.0),
    Work("1 KiB", PLAIN, 1024, 32, cpu=0.9, rate=1.0),
    Work("1 KiB", PLAIN, 1024, 256, cpu=0.9, rate=1.0),
    Work("64 KiB", PLAIN, 64 * 1024, 32, cpu=0.9),
    Work("1 MiB", PLAIN, 1024 * 1024, 8, cpu=0.6),
    Work("36 B", MUTUAL, 36, 32, cpu=0.8),
    Work("64 KiB", MUTUAL, 64 * 1024, 32, cpu=0.8),
    Work("36 B", MESH, 36, 32, cpu=None),
    Work("36 B", HTTP2, 36, 8, cpu=1.0, streams=16, against="nginx"),
    Work("36 B", HTTP2, 36, 32, cpu=1.0, streams=1, against="nginx"),
    Work("empty message", GRPC, 36, 8, cpu=None, streams=16),
    Work("36 B", TWO, 36, 64, cpu=1.1),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """All rounds of one row, by proxy."""

    work: Work
    samples: Mapping[str, Sequence[Sample]]

    def cpu(self, proxy: str) -> Spread:
        """CPU microseconds per request."""
        return Spread.of([sample.cpu_us for sample in self.samples[proxy]])

    def rate(self, proxy: str) -> Spread:
        """Requests per second."""
        return Spread.of([sample.per_second for sample in self.samples[proxy]])

    def cpu_ratio(self) -> Spread | None:
        """The engine's over the better peer's; None without a peer."""
        return self._ratio(lambda sample: sample.cpu_us, min)

    def rate_ratio(self) -> Spread | None:
        """The same of requests per second, where more is better."""
        return self._ratio(lambda sample: sample.per_second, max)

    def _ratio(self, of: Callable[[Sample], float], better: Callable[[list[float]], float]) -> Spread | None:
        medians = {
            name: median(of(sample) for sample in samples)
            for name, samples in self.samples.items()
            if name != ENGINE and self.work.against in (None, name)
        }
        if not medians:
            return None
        best = better(list(medians.values()))
        peer = next(name for name, value in medians.items() if value == best)
        rounds = [of(own) / of(other) for own, other in zip(self.samples[ENGINE], self.samples[peer], strict=True)]
        own = median(of(sample) for sample in self.samples[ENGINE])
        return Spread(min(rounds), own / best, max(rounds))


def measure(
    scenes: Mapping[str, Mapping[str, Running]],
    works: Sequence[Work],
    *,
    rounds: int,
    seconds: float,
    say: Callable[[str], None],
) -> list[Measured]:
    """Drive every row through every proxy of its scene, `rounds` times, after a short warming of each."""
    samples: dict[Work, dict[str, list[Sample]]] = {work: defaultdict(list) for work in works}
    for work in works:
        for proxy in scenes[work.scene].values():
            work.drive(proxy, seconds=0.3)
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for place, work in enumerate(works):
            ordered = list(scenes[work.scene].items())
            turn = (number + place) % len(ordered)
            for name, proxy in ordered[turn:] + ordered[:turn]:
                samples[work][name].append(work.drive(proxy, seconds=seconds))
    return [Measured(work, samples[work]) for work in works]
