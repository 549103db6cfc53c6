"""`weft agent`, `weft gateway`, `weft controller`: a process of the mesh, logging JSON to stderr, until SIGTERM."""

from __future__ import annotations

from pathlib import Path

import click

config_option = click.option(
    "--config",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Its configuration, TOML.",
)


@click.command()
@config_option
def agent(config: Path) -> None:
    """Run the agent of this host."""
    from ops import logs
    from proxy.agent import main

    logs.set_up("agent")
    main(config)


@click.command()
@config_option
def gateway(config: Path) -> None:
    """Run the agent of a gateway on this host."""
    from gateway.agent import main
    from ops import logs

    logs.set_up("gateway_agent")
    main(config)


@click.command()
@config_option
def controller(config: Path) -> None:
    """Run a controller."""
    import asyncio

    from ops import logs
    from ops.controller import run
    from ops.controller_config import load

    logs.set_up("controller")
    asyncio.run(run(load(config)))
