"""A host in the gateway role: the agent of `proxy.agent` with a gateway's listeners and public certificates.

Its engine holds the gateway's identity and public certificates and no service's. `main` is what `weft gateway` runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from gateway.certificates import PublicCertificates
from gateway.listeners import edge
from policy.compiled import Gateway
from proxy.agent import run
from proxy.config import Config, InvalidConfig, load
from proxy.engine import EngineClient
from proxy.snapshot import Edge

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0


class GatewayRole:
    """What being a gateway adds to a host."""

    def __init__(self, name: str, *, labels: Mapping[str, str], address: str) -> None:
        self._name = name
        self._labels = labels
        self._address = address
        self._certificates = PublicCertificates()
        self._gateway = Gateway()
        self._changed = asyncio.Event()
        self._said: Mapping[str, str] = {}

    @property
    def name(self) -> str:
        """Which gateway."""
        return self._name

    def edge(self, gateways: Mapping[str, Gateway]) -> Edge | None:
        """Its part of the snapshot."""
        gateway = gateways.get(self._name, Gateway())
        if gateway != self._gateway:
            self._gateway = gateway
            self._changed.set()
        return edge(self._name, gateway, labels=self._labels, address=self._address)

    async def run(self, engine: EngineClient) -> None:
        """Hand the engine every public certificate as it is on disk, for ever."""
        while True:
            self._changed.clear()
            for name, credential in self._certificates.refresh(self._name, self._gateway).items():
                if credential is None:
                    engine.forget(name)
                else:
                    engine.identify(name, credential)
            problems = self._certificates.problems
            for name, problem in problems.items():
                if self._said.get(name) != problem:
                    logger.error("a public certificate is not used", extra={"identity": name, "error": problem})
            self._said = problems
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._changed.wait()
            except TimeoutError:
                continue


def role(config: Config, advertise: str) -> GatewayRole:
    """The role that a configuration asks for; raises `InvalidConfig` where it asks for none."""
    if config.gateway is None:
        raise InvalidConfig("[gateway] is missing: add it with the gateway's name, or run `weft agent`")
    return GatewayRole(config.gateway.name, labels=config.labels, address=advertise)


def main(config_path: Path) -> None:
    """Run a gateway's agent until SIGTERM or SIGINT; raises `InvalidConfig`."""
    run(load(config_path), role=role)
