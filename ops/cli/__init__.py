"""`weft`: one command for people. What it can do is a table in `ops/cli/commands.py`; each command is imported when used."""

from __future__ import annotations

import sys

from ops.cli.app import run


def main() -> None:
    """The entry point: exits with a code of DESIGN.md section 10."""
    sys.exit(run(sys.argv[1:]))
