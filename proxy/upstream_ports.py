"""Where a service finds its upstreams: one port on loopback for each pair, the same for good.

A port that was chosen is kept on disk for as long as the host lives, whether the service is registered or not, so that
templates may rely on it. A port that the program asked for is kept likewise. Both are claimed
(`proxy.ports`) before they are promised, so that no other host of this machine promises them too.

How it fails: `PortTakenError` where a port that was asked for belongs to another pair or to somebody else's socket,
`NoPortError` where none is left to choose.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson

from proxy.keep import read_file, replace_file
from proxy.ports import NoPortError, PortClaims
from registry.names import ServiceName


class PortTakenError(Exception):
    """A port that was asked for cannot be had; the message says whose it is."""

    code = "port_taken"

    def __init__(self, port: int, owner: str) -> None:
        super().__init__(f"port {port} belongs to {owner}")
        self.port = port
        self.owner = owner


class UpstreamPorts:
    """The pairs' ports, on disk in `path`."""

    def __init__(self, path: Path, claims: PortClaims) -> None:
        self._path = path
        self._claims = claims
        kept = read_file(path)
        self._ports: dict[str, int] = {} if kept is None else dict(orjson.loads(kept))

    def __repr__(self) -> str:
        return f"UpstreamPorts({self._ports})"

    @property
    def all(self) -> Mapping[str, int]:
        """`caller upstream` to port."""
        return self._ports

    def port(self, caller: ServiceName, upstream: ServiceName, *, wanted: int | None = None) -> int:
        """The pair's port: `wanted`, or the one it has, or a new one. Raises `PortTakenError`."""
        pair = f"{caller} {upstream}"
        have = self._ports.get(pair)
        if have is not None and wanted in (None, have):
            return have
        port = self._claims.claim() if wanted is None else self._claim(wanted)
        self._ports[pair] = port
        replace_file(self._path, orjson.dumps(self._ports, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2))
        return port

    def _claim(self, port: int) -> int:
        for pair, taken in self._ports.items():
            if taken == port:
                caller, _, upstream = pair.partition(" ")
                raise PortTakenError(port, f"{caller}, for its upstream {upstream}")
        try:
            return self._claims.claim(port)
        except NoPortError as error:
            raise PortTakenError(port, "a program that listens there") from error
