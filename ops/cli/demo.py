"""`weft demo`: a mesh with sample services; `--check` proves it, `break` disturbs it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.cli.dev import mesh_options, told
from ops.cli.place import Place, wait_for
from ops.dev.state import state_directory

if TYPE_CHECKING:
    from ops.dev.mesh import DevMesh, Options


@click.group(invoke_without_command=True)
@mesh_options
@click.option("--check", is_flag=True, help="Prove the calls, one line each, stop, and exit 0 or 1.")
def demo(options: Options, check: bool) -> int:
    """Start a mesh with sample services: web, which calls api (two of v1, one of v2)."""
    if click.get_current_context().invoked_subcommand is not None:
        return 0
    from ops.demo.demo import first_request, samples_running
    from ops.dev.command import until_signal

    began = time.monotonic()

    async def work(mesh: DevMesh) -> int | None:
        async with samples_running(mesh):
            first = await first_request(mesh)
            mesh.publish()
            for line in told(mesh, seconds=time.monotonic() - began):
                click.echo(line)
            click.echo(f"\n{first}\n")
            if check:
                from ops.demo.check import prove

                return await prove(mesh, say=click.echo)
            for line in next_steps(mesh):
                click.echo(line)
            await mesh.until_cancelled()
        return 0

    return until_signal(options, work)


@demo.command("break")
@click.argument("what", type=click.Choice(["latency", "errors", "cert", "etcd"]))
@click.option("--state", type=click.Path(path_type=Path), help="Of the demo that runs.")
@click.option("--restore", is_flag=True, help="Mend it again.")
def break_(what: str, state: Path | None, restore: bool) -> None:
    """Break something in the running demo, until --restore or its end, and say which command finds it.

    \b
    latency  every api instance takes half a second
    errors   every api instance answers 500, its checks excepted
    cert     an impostor registers as api, with a certificate of somebody else
    etcd     etcd is killed and not started again
    """
    from ops.demo.trouble import make, mend

    where = state_directory(state)
    endpoints = Place(where).endpoints
    for line in wait_for(mend(what, where, endpoints) if restore else make(what, where, endpoints)):
        click.echo(line)


def next_steps(mesh: DevMesh) -> list[str]:
    """What to try; the last line is one's own application."""
    ports, state = mesh.layout.ports, mesh.layout.state
    rows = [
        (f"curl http://localhost:{ports.gateway_http}/", "web, and what api answered it"),
        (f"curl http://api.localhost:{ports.gateway_http}/", "api itself: every service has its host"),
        (f"curl --cacert {state}/ca.pem https://localhost:{ports.gateway_https}/", "the same over TLS"),
        ("weft get instances", "who serves what, and in which state"),
        ("weft status", "whether all is well"),
        ("weft demo break errors", "break something; then find it"),
    ]
    if state != state_directory():
        rows.insert(0, (f"export WEFT_STATE={state}", "which mesh is meant"))
    width = max(len(command) for command, _ in rows)
    return [
        "Try next, in another terminal (.venv/bin/weft is the command; Ctrl-C here ends everything):",
        *(f"  {command.ljust(width)}  # {what}" for command, what in rows),
        "And your own application:",
        "  weft run --service hello --port 8000 --upstream api -- python3 -m http.server 8000"
        f"   # then: curl http://hello.localhost:{ports.gateway_http}/",
    ]
