"""Where a mesh on this machine keeps its files, and how the other commands find it: `endpoints.json`.

The file is there exactly while the mesh is ready, and is replaced as a whole at every restart of a process.
How it fails: `NoMeshError` where there is none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypedDict, cast


class NoMeshError(Exception):
    """No mesh is running with this state directory."""

    code = "no_mesh"


class GatewayUrls(TypedDict):
    """The development gateway."""

    http: str
    https: str


class EngineUrls(TypedDict):
    """The engine of the host: its metrics, and `ip:port` for mesh traffic."""

    metrics: str
    inbound: str


class Endpoints(TypedDict):
    """`endpoints.json`. `pids` maps a process to its id, and `services` in it each sample's instance."""

    etcd: str
    root: str
    agent: str
    controller: str
    gateway: GatewayUrls
    engine: EngineUrls
    upstreams: dict[str, dict[str, str]]
    pids: dict[str, int | dict[str, int]]


def state_directory(given: Path | None = None) -> Path:
    """What was given, else `WEFT_STATE`, else the default place below the user's state directory."""
    if given is not None:
        return given.absolute()
    if named := os.environ.get("WEFT_STATE"):
        return Path(named).absolute()
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "weft" / "dev"


def read_endpoints(state: Path) -> Endpoints:
    """Of the mesh running there; raises `NoMeshError`."""
    try:
        return cast(Endpoints, json.loads((state / "endpoints.json").read_bytes()))
    except (OSError, ValueError) as error:
        raise NoMeshError(
            f"no mesh runs with the state directory {state}: start one with `weft demo`, or say --state DIR or --etcd URL"
        ) from error


def write_endpoints(state: Path, endpoints: Endpoints) -> None:
    """Replace the file as a whole."""
    new = state / ".endpoints.json.new"
    new.write_text(json.dumps(endpoints, indent=2) + "\n")
    new.replace(state / "endpoints.json")
