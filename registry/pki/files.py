"""Files that hold private keys: mode 0600, in directories of mode 0700, replaced whole or not at all.

A key and its chain stand in one file, so that a crash can never leave one without the other. How it fails: with
`OSError` from the file system; what was there before is then still there.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def private_directory(directory: Path) -> Path:
    """`directory`, made if needed, readable by its owner alone."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o077:
        directory.chmod(0o700)
    return directory


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by a file of mode 0600, on disk when this returns."""
    _replace(path, content, mode=0o600)


def write_public(path: Path, content: bytes) -> None:
    """Replace `path` by a file anyone may read: certificates, requests."""
    _replace(path, content, mode=0o644)


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
