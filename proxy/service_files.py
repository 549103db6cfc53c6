"""Registrations from files: a directory of YAML or JSON, read again when it changes.

Each document in a file is what a program would `PUT`, with `service` and `id` beside it. A file that cannot be used keeps
what it said before and says why; a file that is gone takes its instances with it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import yaml

from registry.registration import InvalidRegistration, Problem, Registration, parse_registration

logger = logging.getLogger(__name__)

SUFFIXES = (".yaml", ".yml", ".json")


def parse_file(content: str) -> tuple[Registration, ...]:
    """The registrations in a file; raises `InvalidRegistration`."""
    try:
        documents = [document for document in yaml.load_all(content, Loader=yaml.CSafeLoader) if document is not None]
    except yaml.YAMLError as error:
        text = " ".join(str(error).split())
        raise InvalidRegistration(Problem("invalid_yaml", "", text, "YAML or JSON", "correct it")) from error
    return tuple(_registration(document) for document in documents)


def _registration(document: object) -> Registration:
    if not isinstance(document, Mapping):
        fix = "write service, id and port"
        raise InvalidRegistration(Problem("invalid_value", "", repr(document)[:80], "a mapping", fix))
    body = dict(document)
    named: dict[str, str] = {}
    for name in ("service", "id"):
        value = body.pop(name, None)
        if not isinstance(value, str):
            raise InvalidRegistration(Problem("missing_field", name, repr(value), "a name", f"add {name!r}"))
        named[name] = value
    return parse_registration(body, service=named["service"], instance=named["id"], from_file=True)


class ServiceFiles:
    """What a directory says now. `read` looks at what changed since it was last called."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: dict[Path, tuple[int, int]] = {}
        self._said: dict[Path, tuple[Registration, ...]] = {}

    def read(self) -> Mapping[str, tuple[Registration, ...]] | None:
        """File name to its registrations, or None where nothing changed."""
        stats = self._stats()
        if stats is None or stats == self._seen:
            return None
        for path, stat in stats.items():
            if self._seen.get(path) != stat:
                self._read_one(path)
        self._said = {path: said for path, said in self._said.items() if path in stats}
        self._seen = stats
        return {path.name: said for path, said in self._said.items()}

    def _read_one(self, path: Path) -> None:
        try:
            self._said[path] = parse_file(path.read_text())
        except (OSError, UnicodeDecodeError, InvalidRegistration) as error:
            logger.error("a file of services is not used", extra={"file": str(path), "error": str(error)})

    def _stats(self) -> dict[Path, tuple[int, int]] | None:
        """Modification time and inode of every file; None where the directory cannot be read, which removes nothing."""
        try:
            paths = [path for path in self._directory.iterdir() if path.suffix in SUFFIXES]
            return {path: ((stat := path.stat()).st_mtime_ns, stat.st_ino) for path in sorted(paths)}
        except FileNotFoundError:
            return {} if self._seen else None
        except OSError as error:
            logger.warning("services cannot be read", extra={"directory": str(self._directory), "error": str(error)})
            return None
