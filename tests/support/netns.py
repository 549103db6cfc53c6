"""Network namespaces made for a test: hosts with addresses of their own on one machine, joined by a bridge."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Namespace:
    """One host: its namespace and its address on the test's own network."""

    name: str
    address: str

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs something inside."""
        return ["ip", "netns", "exec", self.name, *arguments]


def unavailable() -> str | None:
    """Why namespaces cannot be made here, or None."""
    if shutil.which("ip", path=_PATH) is None:
        return "ip is missing: apt install iproute2"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"weft-probe-{uuid.uuid4().hex[:6]}"
    made = _ip("netns", "add", name, check=False)
    if made.returncode != 0:
        return f"ip netns add: {made.stderr.strip()}"
    _ip("netns", "del", name)
    return None


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[Sequence[Namespace]]:
    """`count` hosts at 10.211.0.1, 10.211.0.2, …, on a bridge that lives in a namespace too; all gone afterwards."""
    tag = uuid.uuid4().hex[:6]
    switch = f"weft-{tag}-sw"
    with contextlib.ExitStack() as scope:
        _add(scope, switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        _ip("-n", switch, "link", "set", "br0", "up")
        hosts = []
        for number in range(1, count + 1):
            host = Namespace(f"weft-{tag}-{number}", f"10.211.0.{number}")
            _add(scope, host.name)
            _ip("-n", switch, "link", "add", f"p{number}", "type", "veth", "peer", "name", "eth0", "netns", host.name)
            _ip("-n", switch, "link", "set", f"p{number}", "master", "br0", "up")
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
            _ip("-n", host.name, "link", "set", "eth0", "up")
            _ip("-n", host.name, "link", "set", "lo", "up")
            hosts.append(host)
        yield hosts


def _add(scope: contextlib.ExitStack, name: str) -> None:
    _ip("netns", "add", name)
    scope.callback(_ip, "netns", "del", name, check=False)


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ip", *arguments], capture_output=True, text=True, check=check, env={**os.environ, "PATH": _PATH}
    )
