"""`weft adopt`: a host or a controller that holds on to a mesh that is not in its store any more lets go of it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import click

HELD = ("view.msgpack", "members.json")
"""Below the state directory of an agent and of a controller: the mesh as it was last seen."""


@click.command()
@click.argument("where", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="STATE-DIR")
def adopt(where: Path) -> None:
    """Make an agent or a controller belong to the mesh that its store holds now. Stop it first, and start it afterwards.

    A store with another mesh than the last time, or with none, is not believed, because it is more often lost than meant.
    STATE-DIR is the `state_dir` of its file. What it knew stays beside, as FILE.before; an agent's registrations and
    certificates stay in force, where the new mesh has the same root.
    """
    from ops.cli.codes import Fault

    known = [where / name for name in HELD if (where / name).exists()]
    if not known:
        raise Fault("not_found", f"{where} holds on to no mesh: it takes the one that its store has")
    lock = where / "lock"
    if lock.exists():
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Fault("agent_running", f"an agent runs with {where}: stop it, and start it afterwards") from error
        finally:
            os.close(descriptor)
    for path in known:
        path.replace(path.with_name(path.name + ".before"))
        click.echo(f"{path} is {path.name}.before now", err=True)
    click.echo("adopted: the next start takes the mesh that the store holds", err=True)
