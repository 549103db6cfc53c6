"""Ports that nobody else has: claimed, not guessed.

The engine's workers share a port with SO_REUSEPORT, so two engines of one user could bind the same port and silently
split its connections. A claim prevents that twice: a lock on a file per port, held while the claimant lives, keeps two
meshes on one machine from picking the same port before either listens; and a bind without SO_REUSEPORT proves that
nobody listens there already. Ports lie below the kernel's usual range of ephemeral ports, so that no outgoing
connection takes one in between.

How it fails: `NoPortError` when a given port is taken (it says by whom it cannot be shared) or the range is exhausted.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from types import TracebackType

RANGE = range(15_000, 32_000)


class NoPortError(OSError):
    """The port asked for is in use, or no port of the range is free."""

    code = "no_port"


class PortClaims:
    """Claims held until `release`, `close` or the end of the process."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory or Path(tempfile.gettempdir()) / f"weft-ports-{os.getuid()}"
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._held: dict[int, int] = {}

    def claim(self, port: int | None = None, *, address: str = "127.0.0.1") -> int:
        """`port` itself, or one of `RANGE` if None; raises `NoPortError`."""
        if port is not None:
            if not self._try(port, address):
                raise NoPortError(
                    f"port {port} on {address} is in use: stop what listens there, or choose another (--ports auto)"
                )
            return port
        for candidate in random.sample(RANGE, k=len(RANGE)):
            if self._try(candidate, address):
                return candidate
        raise NoPortError(f"no free port between {RANGE.start} and {RANGE.stop - 1} on {address}")

    def release(self, port: int) -> None:
        """Give one back; one that is not held is no error."""
        descriptor = self._held.pop(port, None)
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        """Give all back."""
        for port in list(self._held):
            self.release(port)

    def __enter__(self) -> PortClaims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"PortClaims({sorted(self._held)})"

    def _try(self, port: int, address: str) -> bool:
        if port in self._held:
            return False
        descriptor = os.open(self._directory / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if not is_free(port, address):
            os.close(descriptor)
            return False
        self._held[port] = descriptor
        return True


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether nobody listens on the port, SO_REUSEPORT or not."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
    return True
