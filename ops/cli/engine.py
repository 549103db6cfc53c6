"""`weft engine`: what people ask of an engine that runs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import click

PATIENCE = 30.0
LOOK = 0.05


@click.group()
def engine() -> None:
    """Replace a running engine; no connection is lost."""


@engine.command()
@click.option("--state", type=click.Path(path_type=Path), help="State directory of a mesh that weft dev runs.")
@click.option("--gateway", is_flag=True, help="The gateway's engine, not the host's.")
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="An engine outside weft dev, by its control socket: `socket` of its file.",
)
def replace(state: Path | None, gateway: bool, socket: Path | None) -> None:
    """Start the program that is installed now in place of the engine that runs.

    The new one takes over every listening socket and what is served; the old one answers what is open, for as long as its
    `drain_seconds` say, and ends. Under systemd `systemctl reload` does the same: both send SIGHUP.
    """
    from ops.cli.codes import Fault
    from ops.dev.layout import ENGINE_SOCKET, GATEWAY_SOCKET
    from ops.dev.state import read_endpoints, state_directory
    from proxy.inspect import inspect

    if socket is not None:
        before = inspect(socket)
        os.kill(before.pid, signal.SIGHUP)
    else:
        where = state_directory(state)
        read_endpoints(where)
        socket = where / (GATEWAY_SOCKET if gateway else ENGINE_SOCKET)
        before = inspect(socket)
        (where / "replace" / ("gateway" if gateway else "engine")).touch()
    end = time.monotonic() + PATIENCE
    while (now := inspect(socket)).pid == before.pid:
        if time.monotonic() > end:
            raise Fault("not_replaced", f"process {before.pid} still serves after {PATIENCE:.0f} s: its log says why")
        time.sleep(LOOK)
    click.echo(f"replaced {before.version} (process {before.pid}) by {now.version} (process {now.pid})")
