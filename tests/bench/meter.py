"""CPU time of processes, requests completed, memory: the numbers every row of the tables is made of."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


class LoadError(RuntimeError):
    """The load generator could not do its work, or got errors where answers were expected."""

    code = "load_failed"


@dataclass(frozen=True, slots=True)
class Sample:
    """One round: microseconds of the proxy's CPU per completed request, and requests completed per second."""

    cpu_us: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Minimum, median and maximum of several rounds."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(min(values), median(values), max(values))

    def __str__(self) -> str:
        return f"{self.middle:.1f} ({self.low:.1f}-{self.high:.1f})"


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time used so far by all threads of these processes, from the scheduler's own nanoseconds."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_kib(pids: Sequence[int]) -> float:
    """Memory these processes have in RAM, in KiB; what they share is divided among those who share it."""
    total = 0.0
    for pid in pids:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        assert found is not None, rollup
        total += float(found[1])
    return total


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def drive(url: str, *, pids: Sequence[int], connections: int, seconds: float, host: str = "api") -> Sample:
    """Keep-alive GETs by wrk on `connections` connections; raises `LoadError` unless every answer is a 200.

    wrk's own `-d` takes whole seconds; it is interrupted instead, and reports all the same.
    """
    before = cpu_seconds(pids)
    process = subprocess.Popen(
        ["wrk", "-t1", f"-c{connections}", "-d600s", "--timeout", "5s", "-H", f"Host: {host}", url],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    used = cpu_seconds(pids) - before
    requests = re.search(r"(\d+) requests in", out)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    if process.returncode != 0 or requests is None or rate is None or int(requests[1]) == 0:
        raise LoadError(f"wrk {url}: {out}{errors}")
    if "Non-2xx" in out or "Socket errors" in out:
        raise LoadError(f"wrk {url} saw failures: {out}")
    return Sample(cpu_us=used / int(requests[1]) * 1e6, per_second=float(rate[1]))


def drive_http2(
    url: str, *, pids: Sequence[int], connections: int, seconds: float, streams: int, grpc: bool = False
) -> Sample:
    """The same over HTTP/2 without TLS, by h2load: `streams` at once on each of `connections`; POSTs as gRPC's where asked.

    h2load counts requests, not parts of seconds: a first short run tells how many there are in `seconds`. One answer in a
    hundred may be none: nginx says 502 to a few calls of gRPC, and those are not counted.
    """
    _, trial = _h2load(url, 2000, connections=connections, streams=streams, grpc=grpc)
    before = cpu_seconds(pids)
    done, rate = _h2load(url, max(2000, int(trial * seconds)), connections=connections, streams=streams, grpc=grpc)
    return Sample(cpu_us=(cpu_seconds(pids) - before) / done * 1e6, per_second=rate)


def _h2load(url: str, count: int, *, connections: int, streams: int, grpc: bool) -> tuple[int, float]:
    """How many were answered with a 200, and how many requests there were a second."""
    command = ["h2load", "-t1", f"-n{count}", f"-c{connections}", f"-m{streams}", url]
    with tempfile.NamedTemporaryFile() as message:
        if grpc:
            # An empty message: not compressed, no bytes.
            message.write(bytes(5))
            message.flush()
            command += ["-d", message.name, "-H", "content-type: application/grpc", "-H", "te: trailers"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    rate = re.search(r"finished in .*, ([\d.]+) req/s", done.stdout)
    good = re.search(r"status codes: (\d+) 2xx", done.stdout)
    if done.returncode != 0 or rate is None or good is None or int(good[1]) < count * 0.99:
        raise LoadError(f"{command}: {done.stdout}{done.stderr}")
    return int(good[1]), float(rate[1])
