"""What `-f` names: a file, a directory of them, or `-` for standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ops.cli.codes import Fault

if TYPE_CHECKING:
    from policy.apply import File

ENDINGS = (".yaml", ".yml", ".json")


def read_files(names: Sequence[str]) -> list[File]:
    """Everything that was named, in the order given; directories in order of file name. Raises `Fault`, `OSError`."""
    from policy.apply import File

    return [File(name, content) for name, content in _read(names)]


def _read(names: Sequence[str]) -> Iterable[tuple[str, bytes]]:
    for name in names:
        path = Path(name)
        if name == "-":
            yield "stdin", sys.stdin.buffer.read()
        elif path.is_dir():
            found = sorted(one for one in path.iterdir() if one.suffix in ENDINGS and one.is_file())
            if not found:
                raise Fault("no_document", f"{name} holds no {', '.join(ENDINGS)} file")
            yield from ((str(one), one.read_bytes()) for one in found)
        elif path.exists():
            yield name, path.read_bytes()
        else:
            raise Fault("no_document", f"there is no file {name}: name a file, a directory, or - for standard input")
