"""The tables as text, with every bar beside what it was measured by."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tests.bench.handshakes import Handshakes
from tests.bench.latency import Latency
from tests.bench.memory import PLAIN_CONNECTIONS, TLS_CONNECTIONS, Idle
from tests.bench.meter import Spread
from tests.bench.rows import ENGINE, Measured
from tests.bench.scenes import ONE_WORKER
from tests.bench.snapshot import ENDPOINTS, ROUTES, SERVICES, Times

PEERS = (ENGINE, "nginx", "haproxy")


def machine() -> str:
    """What it was measured on, and by what."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    load = os.getloadavg()[0]
    return (
        f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"load {load:.1f} at the start; {', '.join(_versions())}"
    )


def _versions() -> Iterable[str]:
    for program, flag in (("nginx", "-v"), ("haproxy", "-v"), ("wrk", "-v")):
        path = shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/bin:/sbin:/bin")
        if path is None:
            continue
        done = subprocess.run([path, flag], capture_output=True, text=True, check=False)
        version = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
        yield f"{program} {version[0] if version else '?'}"


def load(measured: Sequence[Measured]) -> str:
    """CPU per request and requests a second."""
    costs = ("engine us", "nginx us", "HAProxy us", "x the better", "bar", "")
    rates = ("engine /s", "nginx /s", "HAProxy /s", "x the better", "bar", "")
    rows: list[tuple[str, ...]] = [("work", *costs, *rates)]
    for one in measured:
        work = one.work
        rows.append(
            (
                str(work),
                *(_shown(one, name) for name in _columns(one)),
                *_judged(one.cpu_ratio(), work.cpu, at_most=True),
                *(f"{one.rate(name).middle:.0f}" if name in one.samples else "-" for name in _columns(one)),
                *_judged(one.rate_ratio(), work.rate, at_most=False),
            )
        )
    return _aligned(rows)


def _shown(measured: Measured, name: str) -> str:
    if name not in measured.samples:
        return "-"
    return f"{'with one ' if name == ONE_WORKER else ''}{measured.cpu(name)}"


def _columns(measured: Measured) -> Sequence[str]:
    """Whose figures stand in the columns; an engine that is a peer of another has nginx's."""
    return (ENGINE, ONE_WORKER, PEERS[2]) if ONE_WORKER in measured.samples else PEERS


def _judged(ratio: Spread | None, bar: float | None, *, at_most: bool) -> tuple[str, str, str]:
    if ratio is None:
        return ("-", "-", "")
    shown = f"{ratio.middle:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"
    if bar is None:
        return (shown, "-", "")
    met = ratio.middle <= bar if at_most else ratio.middle >= bar
    return (shown, f"{'<=' if at_most else '>='} {bar:g}", _verdict(met))


def handshakes(found: Handshakes) -> str:
    """How many one core does in a second."""

    def row(what: str, rates: Mapping[str, Spread]) -> tuple[str, ...]:
        cells = (str(rates[name]) if name in rates else "-" for name in PEERS)
        ratio = rates[ENGINE].middle / rates["nginx"].middle
        return (what, *cells, f"{ratio:.2f}", ">= 1", _verdict(ratio >= 1))

    return _aligned(
        [
            ("mutual TLS handshakes a second of CPU", "engine", "nginx", "HAProxy", "x nginx", "bar", ""),
            row("full, with one request", found.full),
            row("resumed, with one request", found.resumed),
        ]
    )


def latency(found: Latency) -> str:
    """Medians of the rounds, in microseconds."""

    def row(what: str, values: Mapping[str, Sequence[float]], bar: float) -> tuple[str, ...]:
        cells = (str(Spread.of(values[name])) if name in values else "-" for name in PEERS)
        return (what, *cells, *_judged(found.ratio(values), bar, at_most=True))

    return _aligned(
        [
            (f"open loop, 36 B at {found.rate:.0f}/s", "engine us", "nginx us", "HAProxy us", "x the best", "bar", ""),
            row("p50", found.p50, 1.0),
            row("p99", found.p99, 1.2),
        ]
    )


def memory(plain: Mapping[str, Idle], secured: Mapping[str, Idle]) -> str:
    """Idle processes and connections."""

    def row(what: str, figures: Mapping[str, float], unit: str, bar: float | None) -> tuple[str, ...]:
        cells = (f"{figures[name]:.2f} {unit}" if name in figures else "-" for name in PEERS)
        judged = ("-", "") if bar is None else (f"<= {bar:g} {unit}", _verdict(figures[ENGINE] <= bar))
        return (what, *cells, *judged)

    processes = {name: one.process / 1024 for name, one in plain.items()}
    kept = {name: one.connection for name, one in plain.items()}
    mutual = {name: one.connection for name, one in secured.items()}
    return _aligned(
        [
            ("memory", *("engine", "nginx", "HAProxy"), "bar", ""),
            row("idle process", processes, "MiB", 15),
            row(f"each of {PLAIN_CONNECTIONS} idle keep-alive connections", kept, "KiB", 2),
            row(f"each of {TLS_CONNECTIONS} idle mutual TLS connections", mutual, "KiB", None),
        ]
    )


def snapshot(times: Times) -> str:
    """A large snapshot."""

    def row(what: str, found: Spread, bar: float) -> tuple[str, ...]:
        return (what, str(found), f"< {bar:g}", _verdict(found.middle < bar))

    return _aligned(
        [
            (f"{SERVICES * ROUTES} routes, {SERVICES * ENDPOINTS} endpoints", "engine ms", "bar", ""),
            row("apply from nothing", times.apply, 300),
            row("one changed section", times.change, 5),
            row("start from disk to first answer", times.start, 500),
        ]
    )


def _verdict(met: bool) -> str:
    return "met" if met else "NOT MET"


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """As a Markdown table whose columns line up."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
