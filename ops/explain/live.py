"""What a running engine serves, asked of its own socket: its sections as they are in force, and whom it has ejected."""

from __future__ import annotations

from pathlib import Path

from ops.explain.world import World, plain
from proxy.inspect import EngineAwayError, inspect, served
from proxy.sections import HOST


def world(socket: Path) -> World:
    """Of the engine at this socket; raises `EngineAwayError`."""
    found = served(socket)
    sections = plain(found.sections)
    if HOST not in sections:
        raise EngineAwayError(f"the engine at {socket} serves nothing yet: is its agent running?")
    return World(
        source=f"the engine of {sections[HOST]['name']}",
        policy=found.policy,
        registry=found.registry,
        snapshot=sections,
        ejected=frozenset(inspect(socket).ejected),
    )
