"""`weft dev`: a mesh on this machine, without samples."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import click

from ops.dev.state import state_directory

if TYPE_CHECKING:
    from ops.dev.mesh import DevMesh, Options

P = ParamSpec("P")
R = TypeVar("R")


def mesh_options(command: Callable[Concatenate[Options, P], R]) -> Callable[P, R]:
    """Where the mesh lives, on which ports, and how long its certificates and leases do: its first argument."""
    state = click.option(
        "--state", type=click.Path(file_okay=False, path_type=Path), help="Where all of its files live."
    )
    ports = click.option(
        "--ports",
        type=click.Choice(["default", "auto"]),
        default="default",
        help="auto: free ones, shared with nobody.",
    )
    leaf_ttl = click.option("--leaf-ttl", default="72h", show_default=True, help="Life of the services' certificates.")
    lease_ttl = click.option("--lease-ttl", default="15s", show_default=True, help="Life of a silent host's lease.")

    @wraps(command)
    def with_options(*args: P.args, **kwargs: P.kwargs) -> R:
        from ops.dev.mesh import Options

        where, which = kwargs.pop("state"), kwargs.pop("ports")
        leaf, lease = (checked_length(str(kwargs.pop(name))) for name in ("leaf_ttl", "lease_ttl"))
        chosen = Options(state_directory(where if isinstance(where, Path) else None), which == "auto", leaf, lease)
        return command(chosen, *args, **kwargs)

    return state(ports(leaf_ttl(lease_ttl(with_options))))


def checked_length(text: str) -> str:
    """A length of time as documents and configuration files have it; raises its `InvalidDuration` otherwise."""
    from policy.durations import parse_duration

    parse_duration(text)
    return text


@click.command()
@mesh_options
def dev(options: Options) -> int:
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

    return until_signal(options, work)


def told(mesh: DevMesh, *, seconds: float) -> list[str]:
    """What runs, for people."""
    ports, state = mesh.layout.ports, mesh.layout.state
    return [
        f"Mesh dev.weft is up after {seconds:.1f} s; its files are in {state}",
        f"  gateway     http://localhost:{ports.gateway_http}/  https://localhost:{ports.gateway_https}/ (CA: {state}/ca.pem)",
        f"  agent       {mesh.agent}   controller  http://127.0.0.1:{ports.controller}   etcd  {mesh.layout.etcd_url}",
        "  Every service may call every other here: mesh-wide Defaults say `access: allow`.",
    ]
