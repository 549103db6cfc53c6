"""Policy for a host without a mesh: the files of a directory (`policies.d`), compiled by the same function.

Every `*.yaml`, `*.yml` and `*.json` in it is read, in order of name, which stands for age. A file that cannot be used
costs itself only: what it said when it last could be read stays in force, as long as the caller keeps the `LocalPolicy`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from policy.compile import Compilation, ServiceFacts, compile_documents
from policy.diagnostics import Diagnostic, diagnostic
from policy.documents import Unreadable, identify, split
from policy.records import LastGood
from policy.selection import Stored
from registry.keys import DocumentKey
from registry.names import ServiceName

logger = logging.getLogger(__name__)

ENDINGS = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class LocalPolicy:
    """What a directory says. `problems` are those of whole files and documents that have no place in `compilation`.

    `files`: which documents each file held when it last could be read.
    """

    compilation: Compilation
    problems: tuple[Diagnostic, ...] = ()
    last_good: Mapping[DocumentKey, LastGood] = field(default_factory=dict)
    files: Mapping[str, tuple[DocumentKey, ...]] = field(default_factory=dict)


def compile_directory(
    directory: Path, services: Mapping[ServiceName, ServiceFacts], *, before: LocalPolicy | None = None
) -> LocalPolicy:
    """Compile what is in `directory` now; `before` is the result of the last time. A missing directory says nothing."""
    documents: dict[DocumentKey, Stored] = {}
    problems: list[Diagnostic] = []
    files: dict[str, tuple[DocumentKey, ...]] = {}
    good = before.last_good if before else {}
    for path in _files(directory):
        found = _documents(path, problems)
        if found is None:
            known = before.files.get(str(path), ()) if before else ()
            found = [(key, good[key].document) for key in known if key in good]
        for key, document in found:
            if key in documents:
                problems.append(_located(diagnostic("named_twice", f"{key} stands also in an earlier file"), path))
            else:
                age = len(documents) + 1
                documents[key] = Stored(key, document, created=age, modified=age, last_good=good.get(key))
        files[str(path)] = tuple(key for key, _ in found)
    compilation = compile_documents(list(documents.values()), services, now=time.time())
    accepted = {stored.key: LastGood(stored.modified, stored.document) for stored in compilation.accepted}
    kept = {key: value for key, value in good.items() if key in documents}
    return LocalPolicy(compilation, tuple(problems), {**kept, **accepted}, files)


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix in ENDINGS and path.is_file())
    except FileNotFoundError:
        return []
    except OSError as error:
        logger.warning("the policy directory cannot be read", extra={"path": str(directory), "error": str(error)})
        return []


def _documents(path: Path, problems: list[Diagnostic]) -> list[tuple[DocumentKey, bytes]] | None:
    """The documents of a file, or None where not every one of them can be told from the others."""
    found = []
    whole = True
    try:
        for piece in split(path.read_bytes()):
            key = identify(piece.document, namespace=None)
            if isinstance(key, DocumentKey):
                found.append((key, piece.document))
            else:
                whole = False
                problems += [fault.located(file=str(path), lines_before=piece.lines_before) for fault in key]
    except Unreadable as error:
        problems += [_located(fault, path) for fault in error.diagnostics]
        return None
    except OSError as error:
        problems.append(_located(diagnostic("unreadable_file", f"the file cannot be read: {error}"), path))
        return None
    return found if whole else None


def _located(fault: Diagnostic, path: Path) -> Diagnostic:
    return fault.located(file=str(path), lines_before=0)
