"""Where a mesh on this machine keeps its files, and how the other commands find it: `endpoints.json`.

The file is there while the mesh is ready, and is replaced as a whole at every restart of a process. Whether there is a mesh
at all is told by the lock that `weft dev` holds: after kill -9 the file stays, the lock does not.
How it fails: `NoMeshError` where there is none, `MeshRunsError` where there may not be one.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict, cast


class NoMeshError(Exception):
    """No mesh is running with this state directory."""

    code = "no_mesh"


class MeshRunsError(Exception):
    """Another `weft dev` runs with this state directory."""

    code = "mesh_runs"


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
        if _locked(state):
            return cast(Endpoints, json.loads((state / "endpoints.json").read_bytes()))
    except (OSError, ValueError):
        pass  # as good as none
    raise NoMeshError(
        f"no mesh runs with the state directory {state}: start one with `weft demo`, or say --state DIR or --etcd URL"
    )


def write_endpoints(state: Path, endpoints: Endpoints) -> None:
    """Replace the file as a whole."""
    new = state / ".endpoints.json.new"
    new.write_text(json.dumps(endpoints, indent=2) + "\n")
    new.replace(state / "endpoints.json")


@contextmanager
def held(state: Path) -> Iterator[None]:
    """The state directory, made if need be and ours alone while the scope lasts; raises `MeshRunsError`."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _lock(descriptor, fcntl.LOCK_EX):
            raise MeshRunsError(
                f"a mesh runs already with {state}: end it, or give this one its own (--state DIR --ports auto)"
            )
        yield
    finally:
        os.close(descriptor)


def _locked(state: Path) -> bool:
    descriptor = os.open(state / "lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return not _lock(descriptor, fcntl.LOCK_SH, tries=1)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int, *, tries: int = 10) -> bool:
    """More than one try, because whoever only looks holds a shared lock for an instant."""
    for _ in range(tries):
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.01)
    return False
