"""Where the programs are that a mesh on this machine needs and that are not Python: the engine and etcd.

How it fails: `MissingToolError`, which names every place that was looked at and what to do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

CLONE = Path(__file__).resolve().parents[2]


class MissingToolError(Exception):
    """A program that is needed is nowhere, or too old."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def find_engine() -> Path:
    """`WEFT_ENGINE` if set; else the clone's `.tools/bin`, beside the interpreter, PATH: the first that is there."""
    named = os.environ.get("WEFT_ENGINE")
    on_path = shutil.which("weft-engine")
    places = [named, CLONE / ".tools/bin/weft-engine", Path(sys.executable).parent / "weft-engine", on_path]
    found = _first(places[:1] if named else places)
    if found is None:
        raise MissingToolError(
            "no_engine",
            f"weft-engine is not in WEFT_ENGINE ({named or 'not set'}), {places[1]}, {places[2]} or PATH: run `make build`",
        )
    return found


def find_etcd() -> Path:
    """`WEFT_ETCD`, PATH, the clone's `.tools/bin`; of those the first that can be used."""
    named = os.environ.get("WEFT_ETCD")
    places = [named] if named else [shutil.which("etcd"), CLONE / ".tools/bin/etcd"]
    refused: list[str] = []
    for place in places:
        found = _first([place])
        if found is None:
            continue
        text = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        version = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", text)
        if version is not None and usable(*map(int, version.groups())):
            return found
        refused.append(f"{found} is {version[0] if version else 'no etcd'}, which may lose acknowledged writes")
    why = "; ".join(refused) or f"etcd is not in WEFT_ETCD ({named or 'not set'}), PATH or {CLONE / '.tools/bin'}"
    raise MissingToolError("no_etcd", f"{why}: run `make build`, or set WEFT_ETCD to one of 3.4.22 or later")


def usable(major: int, minor: int, patch: int) -> bool:
    """3.4.22 and later, of 3.5 those from 3.5.6 on."""
    return (major, minor) > (3, 5) or (major, minor, patch) >= {5: (3, 5, 6), 4: (3, 4, 22)}.get(minor, (4, 0, 0))


def weft() -> list[str]:
    """How to start this very `weft` again."""
    script = Path(sys.executable).parent / "weft"
    return [str(script)] if script.exists() else [sys.executable, "-m", "ops.cli"]


def _first(places: list[str | Path | None]) -> Path | None:
    return next((Path(place) for place in places if place and os.access(place, os.X_OK)), None)
