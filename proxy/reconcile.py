"""Files of `services.d` made true: what a file says is registered, what it no longer says is deregistered."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from proxy.host import Host
from proxy.registrar import HostRegistrar
from proxy.registrations import Key
from proxy.service_files import ServiceFiles
from registry.registrar import ConflictError

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0
API = "api"


async def follow_files(directory: Path, host: Host, registrar: HostRegistrar) -> None:
    """Look at the directory every second, for ever."""
    files = ServiceFiles(directory)
    while True:
        said = files.read()
        if said is not None:
            wanted: set[tuple[str, Key]] = set()
            for source, registrations in said.items():
                for registration in registrations:
                    wanted.add((source, (registration.service, registration.id)))
                    try:
                        registrar.accept(registration, source=source)
                    except ConflictError as error:
                        logger.error("a file's service is not registered", extra={"file": source, "error": str(error)})
            for key, kept in list(host.registrations.all.items()):
                if kept.source != API and (kept.source, key) not in wanted:
                    host.remove(key)
        await asyncio.sleep(LOOK_EVERY)
