"""One process of a mesh on this machine: how it is started, and that it never outlives us.

Each is the leader of a process group of its own, so that a Ctrl-C at the terminal reaches us alone, and asks the kernel to
be killed when we die, kill -9 of us included (`launch.py`). What it prints goes to `log/<name>.log`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LAUNCH = Path(__file__).with_name("launch.py")
LOG_KEPT = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Spec:
    """A process by name: its command, and what its environment has besides ours."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    service: bool = False
    """Whether it is a sample's instance, not a part of the mesh."""
    last: bool = False
    """Whether it ends after all others, because they need it to take their leave."""
    succeeds: bool = False
    """Whether another one, started beside it with the same command, takes over from it without losing anything."""


async def start(spec: Spec, *, log: Path) -> asyncio.subprocess.Process:
    """Start it; raises `OSError` where its program cannot be run."""
    path = log / f"{spec.name}.log"
    bound_log(path)
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid())),
            *spec.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **spec.environment},
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(output)


def bound_log(path: Path, *, kept: int = LOG_KEPT) -> None:
    """Begin a log anew that has grown large, what it held kept beside it. Its writer appends, and goes on in the same file."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > kept:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)
