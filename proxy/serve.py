"""An HTTP application on sockets that we bind ourselves, ending when its task is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from proxy.config import split_address

GRACE = 1


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(address: str, path: Path | None) -> list[socket.socket]:
    """Bound sockets for an address and, if named, a Unix socket of mode 0660; raises `OSError` that names which."""
    host, port = split_address(address)
    tcp = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sockets = [tcp]
    try:
        tcp.bind((host, port))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            unix = socket.socket(socket.AF_UNIX)
            sockets.append(unix)
            unix.bind(str(path))
            path.chmod(0o660)
    except OSError as error:
        for one in sockets:
            one.close()
        where = address if len(sockets) == 1 else str(path)
        raise OSError(error.errno, f"cannot listen on {where}: {error.strerror}") from error
    return sockets


async def serve(application: Starlette, sockets: Sequence[socket.socket]) -> None:
    """Serve until cancelled."""
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=list(sockets)))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise
