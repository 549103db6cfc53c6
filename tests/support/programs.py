"""Programs that many machines have and some do not: where they are, or why a test that needs them does not run."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

import pytest


def needed(program: str, *, package: str, also: str = "") -> str:
    """Where `program` is: on PATH, or in a directory that `also` (a glob below /) matches; else the test is skipped."""
    found = shutil.which(program)
    places = [found] if found else [str(path / program) for path in sorted(Path("/").glob(also or "nothing"))]
    if not places:
        pytest.skip(f"there is no {program} on this machine: install it with `apt-get install {package}`")
    return places[-1]


def unprivileged() -> str | None:
    """Who runs a program that refuses to run as root: `nobody` where we are root, else ourselves."""
    return "nobody" if os.geteuid() == 0 else None


def own(path: Path, user: str | None) -> None:
    """Give a directory to that user."""
    if user is not None:
        account = pwd.getpwnam(user)
        os.chown(path, account.pw_uid, account.pw_gid)
