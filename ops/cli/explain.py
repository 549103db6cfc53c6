"""`weft explain`: what would become of a request, and why, without sending one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import click

from ops.cli.place import Place, on_mesh, wait_for

if TYPE_CHECKING:
    from ops.explain.doors import Door
    from ops.explain.explanation import Explanation
    from ops.explain.look import Looked
    from ops.explain.values import Setting

Format = Literal["table", "wide", "json", "yaml"]


@click.command()
@click.argument("what", metavar="SERVICE|URL")
@click.argument("words", nargs=-1, metavar="[METHOD] [PATH]")
@click.option("--as", "caller", metavar="CALLER", help="Who calls: web, shop/web, gateway:edge, spiffe://…")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A field; may be repeated.")
@click.option("-n", "--namespace", metavar="NS", help="Of names that have none; otherwise `default`.")
@click.option("-f", "--file", "files", multiple=True, metavar="FILE|DIR|-", help="As if these were applied.")
@click.option("--engine", "sockets", multiple=True, type=click.Path(path_type=Path), help="An engine's socket.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json", "yaml"]), default="table", show_default=True
)
@on_mesh
def explain(
    place: Place,
    what: str,
    words: Sequence[str],
    caller: str | None,
    headers: Sequence[str],
    namespace: str | None,
    files: Sequence[str],
    sockets: Sequence[Path],
    output: Format,
) -> int:
    """Say what would become of a request and why: which rule, which endpoints, whether it may, and where values come from.

    Nothing is sent: an engine's evaluator is asked about what this host's engines serve, or with --etcd or -f about what the
    mesh's store says. Exits 0 if the request would go on or be answered, 1 if it would be refused.
    """
    from ops.cli.files import read_files
    from ops.dev.tools import find_engine
    from ops.explain.doors import with_default
    from ops.explain.evaluator import evaluating
    from ops.explain.explanation import Request
    from ops.explain.explanation import explain as work
    from ops.explain.look import look

    method, path = _words(words)
    fields = [_field(text) for text in headers]
    looked = wait_for(look(place, sockets, read_files(files), namespace))
    found, target = _door(looked, what, path, caller, namespace or "default")
    door, rest = with_default(fields, found)
    with evaluating(find_engine()) as evaluator:
        said = work(evaluator.ask, door, Request(method, target, rest), known=looked.known)
    _show(said, looked.notes, output)
    return 1 if said.outcome == "refuse" else 0


def _words(words: Sequence[str]) -> tuple[str, str]:
    """Method and path, whichever comes first."""
    paths = [word for word in words if word.startswith(("/", "*"))]
    methods = [word for word in words if word not in paths]
    if len(paths) > 1 or len(methods) > 1 or any(word != word.upper() for word in methods):
        raise click.UsageError(f"{' '.join(words)!r} is no [METHOD] [PATH]: write them as in POST /v2/orders")
    return next(iter(methods), "GET"), next(iter(paths), "")


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.UsageError(f"{text!r} is no field: write it as in -H 'x-canary: yes'")
    return name.strip(), value.strip()


def _door(looked: Looked, what: str, path: str, caller: str | None, namespace: str) -> tuple[Door, str]:
    """Where it comes in, and its path with the query."""
    from ops.explain import doors
    from registry.names import ServiceName

    named = None if caller is None else doors.caller_of(caller, namespace=namespace)
    mesh = looked.mesh
    if "://" in what:
        if path:
            raise click.UsageError("the path is a part of the URL: leave [PATH] out")
        url = urlsplit(what)
        found = [mesh.gateway(name) for name in mesh.gateways] if mesh else looked.worlds
        worlds = [world for world in found if world is not None]
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        return doors.of_url(worlds, url, caller=named), target
    service = ServiceName.parse(what, namespace=namespace)
    if mesh is None:
        return doors.of_service(looked.worlds, service, caller=named), path or "/"
    own = service if named is None or ":" in named else ServiceName.parse(named)
    worlds = [mesh.host([(own, service)])] if named else []
    return doors.of_service(worlds, service, caller=named), path or "/"


def _show(said: Explanation, notes: Sequence[str], output: Format) -> None:
    from ops.cli.output import show
    from ops.explain.text import lines

    if output in ("json", "yaml"):
        row = {**asdict(said), "settings": [_setting(one) for one in said.settings], "notes": [*said.notes, *notes]}
        show([row], (), output, single=True)
        return
    for line in lines(said, wide=output == "wide"):
        click.echo(line)
    for note in notes:
        click.echo(f"  note      {note}")


def _setting(one: Setting) -> dict[str, str | None]:
    return {"name": one.name, "value": one.value, "from": None if one.origin is None else str(one.origin)}
