"""Is requirements.lock made from the dependencies that pyproject.toml names? Answered without a network.

`stamp` writes a digest of those tables into the lock's head, `check` compares it, and exits 1 with what to do.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MARK = "# made from dependencies with sha256 "


def digest(pyproject: str) -> str:
    """Of what decides the lock: the Python version, the dependencies, and the groups."""
    tables = tomllib.loads(pyproject)
    project = tables["project"]
    decides = [project["requires-python"], sorted(project["dependencies"]), tables["dependency-groups"]]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def stamped(lock: str, mark: str) -> str:
    """The lock with this digest in its first line."""
    lines = lock.splitlines(keepends=True)
    body = lines[1:] if lines and lines[0].startswith(MARK) else lines
    return "".join([f"{MARK}{mark}\n", *body])


def main(command: str, *, root: Path = ROOT) -> int:
    """Run `stamp` or `check`; the exit code."""
    wanted = digest((root / "pyproject.toml").read_text())
    lock = root / "requirements.lock"
    if command == "stamp":
        lock.write_text(stamped(lock.read_text(), wanted))
        return 0
    if lock.read_text().startswith(f"{MARK}{wanted}\n"):
        return 0
    print(
        "requirements.lock was made from other dependencies than pyproject.toml names: run `make lock`", file=sys.stderr
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
