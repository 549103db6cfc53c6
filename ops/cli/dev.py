"""`weft dev`: a mesh on this machine, without samples."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ops.dev.state import state_directory

if TYPE_CHECKING:
    from ops.dev.mesh import DevMesh

F = TypeVar("F", bound=Callable[..., object])


def mesh_options(command: F) -> F:
    """Where the mesh lives and on which ports."""
    state = click.option(
        "--state", type=click.Path(file_okay=False, path_type=Path), help="Where all of its files live."
    )
    ports = click.option(
        "--ports",
        type=click.Choice(["default", "auto"]),
        default="default",
        help="auto: free ones, shared with nobody.",
    )
    return state(ports(command))


@click.command()
@mesh_options
def dev(state: Path | None, ports: str) -> int:
    """Start a mesh on this machine, until Ctrl-C.

    A private etcd, a CA, a controller, an agent with its engine and a gateway, as processes of their own, on loopback.
    """
    from ops.dev.command import until_signal

    began = time.monotonic()

    async def work(mesh: DevMesh) -> None:
        mesh.publish()
        for line in told(mesh, seconds=time.monotonic() - began):
            click.echo(line)
        click.echo("")
        click.echo("Ctrl-C ends everything. Put an application in:")
        click.echo("  weft run --service hello --port 8000 -- python3 -m http.server 8000")

    return until_signal(state_directory(state), auto_ports=ports == "auto", work=work)


def told(mesh: DevMesh, *, seconds: float) -> list[str]:
    """What runs, for people."""
    ports, state = mesh.layout.ports, mesh.layout.state
    return [
        f"Mesh dev.weft is up after {seconds:.1f} s; its files are in {state}",
        f"  gateway     http://localhost:{ports.gateway_http}/  https://localhost:{ports.gateway_https}/ (CA: {state}/ca.pem)",
        f"  agent       {mesh.agent}   controller  http://127.0.0.1:{ports.controller}   etcd  {mesh.layout.etcd_url}",
        "  Every service may call every other here: mesh-wide Defaults say `access: allow`.",
    ]
