"""`weft tap`: requests as they end, and connections of bytes as they begin and end, with the reason of each failure, from the
engines of this host.

It asks the engines' own sockets, which only their user and root may open: the agent's API, which every program of the host
may ask, says nothing of other people's requests. It works with the agent dead.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.cli.codes import Fault
from ops.cli.place import wait_for
from ops.dev.state import state_directory

if TYPE_CHECKING:
    from proxy.tap import Filter

SYSTEM = Path("/run/weft/engine.sock")
COLUMNS = (
    ("TIME", "time", 12),
    ("WAY", "direction", 8),
    ("SOURCE", "source", 16),
    ("DESTINATION", "destination", 16),
    ("INSTANCE", "instance", 10),
    ("CODE", "code", 4),
    ("REASON", "reason", 16),
    ("MS", "duration_ms", 9),
    ("TRIES", "tries", 5),
    ("REQUEST", "path", 0),
)


@click.command()
@click.argument("what", metavar="[TYPE/NAME]", required=False)
@click.option(
    "-n", "--namespace", metavar="NS", default="default", show_default=True, help="Of the names that have none."
)
@click.option("--status", "codes", multiple=True, metavar="CODE", help="Only these: 503, 5xx. May be repeated.")
@click.option("--reason", "reasons", multiple=True, metavar="WORD", help="Only these words of x-weft-reason.")
@click.option("--failed", is_flag=True, help="Only those with a reason, or answered with 500 or more.")
@click.option("--from", "callers", multiple=True, metavar="CALLER", help="Only of these callers: web, gateway:edge.")
@click.option(
    "--route", "routes", multiple=True, metavar="ROUTE", help="Only under these routes, as metrics name them."
)
@click.option("--method", "methods", multiple=True, metavar="METHOD", help="Only these methods.")
@click.option("--path", "prefix", default="", metavar="/PREFIX", help="Only paths that begin so.")
@click.option("--direction", type=click.Choice(["outbound", "inbound", "gateway"]), help="Only this way.")
@click.option("--sample", default="100%", show_default=True, metavar="SHARE", help="So many of them.")
@click.option("--field", "fields", multiple=True, metavar="NAME", help="Tell this field of the request too.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many.")
@click.option("--for", "length", metavar="TIME", help="End after this time: 10s.")
@click.option("--engine", "sockets", multiple=True, type=click.Path(path_type=Path), help="An engine's socket.")
@click.option("--state", type=click.Path(path_type=Path), help="State directory of a mesh that weft dev runs.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def tap(
    what: str | None,
    namespace: str,
    codes: Sequence[str],
    reasons: Sequence[str],
    failed: bool,
    callers: Sequence[str],
    routes: Sequence[str],
    methods: Sequence[str],
    prefix: str,
    direction: str | None,
    sample: str,
    fields: Sequence[str],
    count: int | None,
    length: str | None,
    sockets: Sequence[Path],
    state: Path | None,
    output: str,
) -> None:
    """Show requests as they end on this host: of service/NAME, route/NAME or gateway/NAME, or all of them.

    Connections of tcp services, TLS that a gateway passes on, and WebSockets are shown when they begin, too.
    Queries are left out, and no credential is told. With -o json it is a recording: a line that says its format, then a
    request a line. A reader that is slower than its host's requests misses some, and is told how many.
    """
    from policy.durations import parse_duration, percentage
    from proxy.tap import Filter, header

    services, found_routes, way = named(what, namespace)
    wanted = Filter(
        direction=direction or way,
        services=services,
        callers=tuple(_qualified(caller, namespace) for caller in callers),
        routes=(*found_routes, *routes),
        codes=tuple(codes),
        reasons=tuple(reasons),
        failed=failed,
        methods=tuple(methods),
        path_prefix=prefix,
        sample=percentage(sample) / 100,
        fields=tuple(fields),
    )
    within = parse_duration(length).total_seconds() if length else None
    if output == "json":
        click.echo(header(wanted, at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")))
    else:
        click.echo(_line([heading for heading, _, _ in COLUMNS]))
    wait_for(_follow(engines(sockets, state), wanted, count, within, output))


def named(what: str | None, namespace: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Services, routes and direction that `TYPE/NAME` means; raises `Fault`."""
    if what is None:
        return (), (), ""
    kind, _, name = what.partition("/")
    match kind.lower(), name:
        case "service" | "services", str(name) if name:
            return (_qualified(name, namespace),), (), ""
        case "route" | "routes", str(name) if name:
            return (), (_qualified(name, namespace),), ""
        case "gateway" | "gateways", _:
            return (), (), "gateway"
    raise Fault("unknown_type", f"{what!r} cannot be tapped: write service/NAME, route/NAME or gateway/NAME")


def engines(sockets: Sequence[Path], state: Path | None) -> Sequence[Path]:
    """The engines' sockets: those named, else of the mesh that `weft dev` runs, else the system's; raises `Fault`."""
    from ops.dev.layout import SOCKETS

    if sockets:
        return sockets
    directory = state_directory(state)
    found = [directory / name for name in SOCKETS if (directory / name).is_socket()]
    if found:
        return found
    if state is None and SYSTEM.exists():
        return [SYSTEM]
    raise Fault(
        "no_mesh", f"no engine's socket is below {directory} or at {SYSTEM}: say --state DIR or --engine SOCKET"
    )


async def _follow(
    sockets: Sequence[Path], wanted: Filter, count: int | None, within: float | None, output: str
) -> None:
    told = _Told(output, count)
    with suppress(TimeoutError):
        try:
            async with asyncio.timeout(within), asyncio.TaskGroup() as tasks:
                for socket in sockets:
                    tasks.create_task(_one(socket, wanted, told))
        except* _EnoughError:
            pass
    if told.dropped:
        click.echo(f"warning: {told.dropped} records were lost, because this reader was behind", err=True)


async def _one(socket: Path, wanted: Filter, told: _Told) -> None:
    from proxy.tap import tap as tapping

    lost = 0
    async with tapping(socket, wanted) as records:
        async for record in records:
            told.dropped += record.dropped - lost
            lost = record.dropped
            told.tell(record.record)


class _EnoughError(Exception):
    """As many as were asked for."""


class _Told:
    """What was printed, of all engines together."""

    def __init__(self, output: str, most: int | None) -> None:
        self.dropped = 0
        self._output = output
        self._most = most
        self._count = 0

    def tell(self, record: str) -> None:
        """Print one; raises `_EnoughError` after the last."""
        click.echo(record if self._output == "json" else row(json.loads(record)))
        self._count += 1
        if self._most is not None and self._count >= self._most:
            raise _EnoughError


def row(record: dict[str, object]) -> str:
    """A request or connection as a line of the table; below it a line for each try that failed."""
    shown = {**record, "time": str(record.get("time", ""))[11:23]}
    shown["path"] = _what(record)
    lines = [_line([str(shown.get(field, "") or "-") for _, field, _ in COLUMNS])]
    failed = record.get("failed")
    for one in failed if isinstance(failed, list) else []:
        lines.append(f"{'':12}  failed: {one.get('instance', '-')} {one.get('reason', '')}: {one.get('detail', '')}")
    if record.get("detail"):
        lines.append(f"{'':12}  {record['detail']}")
    return "\n".join(lines)


def _what(record: dict[str, object]) -> str:
    request = f"{record.get('method', '')} {record.get('path', '')}".strip()
    end = record.get("end")
    if not end:
        return request
    subject = request or f"tcp {record.get('host', '')}".strip()
    if end == "open":
        return f"{subject} {end}"
    return f"{subject} {end}, {record.get('sent', 0)} bytes there, {record.get('received', 0)} back"


def _line(cells: Sequence[str]) -> str:
    widths = [width for _, _, width in COLUMNS]
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _qualified(name: str, namespace: str) -> str:
    return name if "/" in name or ":" in name else f"{namespace}/{name}"
