"""CPU time of processes and requests completed: the two numbers every row of the table is made of."""

from __future__ import annotations

import re
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


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def drive(url: str, *, pids: Sequence[int], connections: int, seconds: int, host: str = "api") -> Sample:
    """Keep-alive GETs by wrk on `connections` connections; raises `LoadError` unless every answer is a 200."""
    before = cpu_seconds(pids)
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "-H", f"Host: {host}", url],
        capture_output=True, text=True, timeout=seconds + 30, check=False,
    )  # fmt: skip
    used = cpu_seconds(pids) - before
    requests = re.search(r"(\d+) requests in", done.stdout)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if done.returncode != 0 or requests is None or rate is None or int(requests[1]) == 0:
        raise LoadError(f"wrk {url}: {done.stdout}{done.stderr}")
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise LoadError(f"wrk {url} saw failures: {done.stdout}")
    return Sample(cpu_us=used / int(requests[1]) * 1e6, per_second=float(rate[1]))
