"""CPU time of processes, requests completed, memory: the numbers every row of the tables is made of."""

from __future__ import annotations

import re
import signal
import subprocess
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
