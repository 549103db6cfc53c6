"""The authorities that a controller has: one in its `[ca] dir`, and one in every folder of it that holds one.

With which it signs is the mesh's decision (`pki/trust`), not its own. A folder that cannot be used is reported and left
alone; without the one in the directory itself a controller does not start. Looked at again whenever trust changes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from registry.pki.authority import Authority
from registry.pki.errors import IdentityRefusedError

logger = logging.getLogger(__name__)


class Slots:
    """All of a directory; `first` is the one in the directory itself."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._said: dict[Path, str] = {}
        self.first = Authority.load(directory)
        self.all: tuple[Authority, ...] = ()
        self.look()

    def look(self) -> None:
        """Read the folders again."""
        found = [self.first]
        for folder in sorted(path.parent for path in self._directory.glob("*/intermediate.pem")):
            try:
                found.append(Authority.load(folder))
                self._said.pop(folder, None)
            except IdentityRefusedError as error:
                if self._said.get(folder) != str(error):
                    self._said[folder] = str(error)
                    logger.error("an authority cannot be used", extra={"error.code": error.code, "error": str(error)})
        self.all = tuple(found)

    @property
    def roots(self) -> tuple[str, ...]:
        """Under which it can sign, as PEM."""
        return tuple(authority.root_pem for authority in self.all)

    def signing(self, active: Sequence[str]) -> Authority:
        """The authority under a root that is signed with; the first while none is known. Refused with `not_signing`."""
        for authority in self.all:
            if not active or authority.root_pem in active:
                return authority
        raise IdentityRefusedError("not_signing", "this controller has no intermediate under the root that is active")
