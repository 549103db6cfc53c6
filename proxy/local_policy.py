"""Policy from a directory, for a host that never held a view of a mesh (`policies.d`, DESIGN.md section 8).

The same documents, compiled by the same function; the revision is the agent's own counter and is shown as such. Files are
looked at every second and compiled when one of them, or the set of known services, changed.

How it fails: a file or document that cannot be used costs itself only. What it said before stays in force, and the reason
is logged once, with file, line and column.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from policy.compile import ServiceFacts
from policy.standalone import LocalPolicy, compile_directory
from proxy.follow import Published
from registry.names import ServiceName

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0

Stamp = tuple[tuple[str, int, int], ...]


class LocalPolicies:
    """What the directory says now, as hosts use it. `changed` is called after every change."""

    def __init__(
        self,
        directory: Path,
        *,
        services: Callable[[], Mapping[ServiceName, ServiceFacts]],
        changed: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._services = services
        self._changed = changed
        self._policy: LocalPolicy | None = None
        self._seen: tuple[Stamp, Mapping[ServiceName, ServiceFacts]] | None = None
        self._told: frozenset[str] = frozenset()
        self._published = Published()

    def __repr__(self) -> str:
        return f"LocalPolicies({self._directory}, revision={self.published.revision})"

    @property
    def published(self) -> Published:
        """What is in force."""
        return self._published

    async def run(self) -> None:
        """Look again every second, for ever."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY)

    def look(self) -> None:
        """Compile anew if anything changed since the last look."""
        seen = (_stamp(self._directory), self._services())
        if seen == self._seen:
            return
        self._seen = seen
        self._policy = compile_directory(self._directory, seen[1], before=self._policy)
        compilation = self._policy.compilation
        self._published = Published(
            revision=self._published.revision + 1,
            services=compilation.services,
            gateways=compilation.gateways,
            mesh=compilation.mesh,
        )
        self._tell(self._policy)
        self._changed()

    def _tell(self, policy: LocalPolicy) -> None:
        faults = [str(problem) for problem in policy.problems]
        for key, status in policy.compilation.statuses.items():
            faults += [f"{key}: {error}" for error in status.errors]
        for fault in faults:
            if fault not in self._told:
                logger.error("a policy file is not used as it is", extra={"error": fault})
        self._told = frozenset(faults)


def _stamp(directory: Path) -> Stamp:
    try:
        found = [(path, path.stat()) for path in directory.iterdir()]
    except OSError:
        return ()
    return tuple(sorted((str(path), status.st_mtime_ns, status.st_size) for path, status in found))
