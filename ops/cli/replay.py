"""`weft replay`: a recorded tap asked again, of what is served now or of documents that are not applied yet."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ops.cli.codes import Fault
from ops.cli.output import Column
from ops.cli.place import Place, on_mesh, wait_for

if TYPE_CHECKING:
    from ops.cli.output import Row
    from ops.explain.look import Looked
    from ops.explain.replay import Recording, Replayed
    from ops.explain.stored import StoredMesh
    from ops.explain.world import World

COLUMNS = (
    Column("count", "COUNT"),
    Column("direction", "WAY"),
    Column("source", "SOURCE"),
    Column("destination", "DESTINATION"),
    Column("request", "REQUEST"),
    Column("was", "WAS"),
    Column("would_be", "WOULD BE"),
)
MOST = 20


@click.command()
@click.argument("recording", metavar="FILE|-")
@click.option("-f", "--file", "files", multiple=True, metavar="FILE|DIR|-", help="As if these were applied.")
@click.option("-n", "--namespace", metavar="NS", help="Of documents that name none; otherwise `default`.")
@click.option("--engine", "sockets", multiple=True, type=click.Path(path_type=Path), help="An engine's socket.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json", "yaml"]), default="table", show_default=True
)
@on_mesh
def replay(
    place: Place,
    recording: str,
    files: Sequence[str],
    namespace: str | None,
    sockets: Sequence[Path],
    output: Literal["table", "wide", "json", "yaml"],
) -> int:
    """Ask a recording (`weft tap -o json > FILE`) again, and say which requests would be decided otherwise.

    Compared with what was recorded; with -f, what is stored now is compared with what these documents would make of it. Nothing
    is sent. Exits 1 if anything differs, 0 if nothing does. Rules that look at headers need `weft tap --field`.
    """
    from ops.cli.files import read_files
    from ops.dev.tools import find_engine
    from ops.explain.evaluator import Evaluators
    from ops.explain.look import look
    from ops.explain.replay import Asking
    from ops.explain.replay import replay as work

    recorded = _read(recording)
    looked = wait_for(look(place, sockets, read_files(files), namespace))
    with ExitStack() as scope:
        ask = Evaluators(find_engine(), scope).ask
        now = Asking.of(ask, looked.worlds or _worlds(looked.mesh, recorded))
        before = Asking.of(ask, _worlds(looked.before, recorded)) if looked.before else None
        found = work(recorded, before=before.fate if before else None, now=now.fate)
    _show(found, looked, output)
    return 1 if found.differ else 0


def _read(name: str) -> Recording:
    from ops.explain.replay import read

    if name == "-":
        return read(sys.stdin)
    try:
        with Path(name).open(encoding="utf-8", errors="replace") as lines:
            return read(lines)
    except FileNotFoundError as error:
        raise Fault("no_document", f"there is no file {name}: record one with `weft tap -o json > FILE`") from error


def _worlds(mesh: StoredMesh | None, recorded: Recording) -> list[World]:
    """Of a store: a host from which every recorded call may be made, and every gateway."""
    from ops.explain.replay import pairs

    if mesh is None:
        return []
    gateways = [mesh.gateway(name) for name in mesh.gateways]
    return [mesh.host(pairs(recorded, mesh.rules.services)), *(world for world in gateways if world is not None)]


def _show(found: Replayed, looked: Looked, output: Literal["table", "wide", "json", "yaml"]) -> None:
    from ops.cli.output import show

    counted: Counter[tuple[tuple[str, str], ...]] = Counter()
    for one, count in found.differ.items():
        request = one.request
        row = {
            "direction": request.direction,
            "source": request.source,
            "destination": request.destination,
            "request": f"{request.method} {request.path}",
            "host": request.host,
            "was": one.was,
            "would_be": one.would_be,
        }
        counted[tuple(row.items())] += count
    rows: list[Row] = [{"count": count, **dict(row)} for row, count in counted.most_common()]
    differ, unknown = sum(found.differ.values()), sum(found.unknown.values())
    if output in ("json", "yaml"):
        told = {"asked": found.asked, "differ": differ, "not_asked": unknown, "why": dict(found.unknown)}
        show([{**told, "differences": rows, "notes": list(looked.notes)}], (), output, single=True)
        return
    by = (
        f", {looked.mesh.source}"
        if looked.mesh
        else "".join(f", {one.source} at policy {one.policy}" for one in looked.worlds)
    )
    click.echo(f"{differ} of {found.asked} requests would fare otherwise{by}")
    show(rows if output == "wide" else rows[:MOST], COLUMNS, "table")
    if len(rows) > MOST and output != "wide":
        click.echo(f"and {len(rows) - MOST} rows more: -o wide tells all")
    for why, count in found.unknown.most_common():
        click.echo(f"{count} not asked: {why}", err=True)
    for note in looked.notes:
        click.echo(f"note: {note}", err=True)
