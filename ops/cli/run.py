"""`weft run`: any program in the mesh for as long as it runs, without a line of it being changed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import click

from ops.cli.place import Place, wait_for
from ops.dev.state import state_directory


@click.command("run", context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("--state", type=click.Path(path_type=Path), help="Of the development mesh that is meant.")
@click.option("--service", required=True, help="Its name; others call it by that: web, or shop/web.")
@click.option("-n", "--namespace", default="default", show_default=True, help="Where the name is not written with one.")
@click.option("--port", required=True, type=click.IntRange(1, 65535), help="Where it listens on loopback.")
@click.option(
    "--protocol",
    type=click.Choice(["http", "http2", "grpc", "tcp"]),
    default="http",
    show_default=True,
    help="What it speaks there: HTTP/1.1, HTTP/2, gRPC; tcp for databases and the like, whose bytes are carried as they are.",
)
@click.option("--upstream", "upstreams", multiple=True, help="A service that it calls; gives it WEFT_UPSTREAM_<S>_URL.")
@click.option("--instance", help="What this copy is called (default: the service and the process id).")
@click.option("--version", default="", help="For routes that look at it.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="For routes that look at it.")
@click.option("--check", "path", metavar="/PATH", help="Check by GET of this path (default: a TCP connect).")
@click.option("--agent", metavar="URL", help="The agent's API, where no development mesh is meant.")
@click.argument("command", nargs=-1, required=True)
def run_program(
    state: Path | None,
    service: str,
    namespace: str,
    port: int,
    protocol: str,
    upstreams: Sequence[str],
    instance: str | None,
    version: str,
    labels: Sequence[str],
    path: str | None,
    agent: str | None,
    command: Sequence[str],
) -> int:
    """Put a program into the mesh: -- CMD ARGUMENTS.

    It is registered and checked while it runs, gets signals as if it had been started directly, and is drained and
    deregistered at its end. The exit code is the program's.
    """
    from ops.dev.program import Program, run
    from registry.names import ServiceName

    name = ServiceName.parse(service, namespace=namespace)
    pairs = dict(_pair(label) for label in labels)
    if version:
        pairs.setdefault("version", version)
    program = Program(
        service=name,
        instance=instance or _instance(name.name),
        port=port,
        protocol=protocol,
        version=version,
        labels=pairs,
        upstreams=tuple(upstreams),
        path=path,
        command=tuple(command),
    )
    api = agent or Place(state_directory(state)).endpoints["agent"]
    return wait_for(run(program, agent=api.rstrip("/"), say=_say))


def _say(line: str) -> None:
    click.echo(line, err=True)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.BadParameter(f"{text!r}: write KEY=VALUE", param_hint="--label")
    return key, value


def _instance(service: str) -> str:
    return re.sub(r"-+", "-", f"{service[:50]}-{os.getpid()}")
