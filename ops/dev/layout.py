"""What a mesh on this machine consists of: its files and its processes. Pure: paths and ports in, texts and commands out.

The processes are those of production, with their configuration files; only their number and their addresses are
particular. Every one keeps to loopback.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.dev.ports import Ports
from ops.dev.process import Spec

TRUST_DOMAIN = "dev.weft"
DATACENTER = "local"
HOST = "dev"
GATEWAY = "edge"
GATEWAY_HOST = "dev-gw-edge"
CONTROLLER = "dev"
ROOT = "/weft/"
ADDRESS = "127.0.0.1"
ENGINE_SOCKET = "engine/engine.sock"
GATEWAY_SOCKET = "gateway/engine/engine.sock"
SOCKETS = (ENGINE_SOCKET, GATEWAY_SOCKET)
LEADER_TTL = "3s"
"""After kill -9 of everything the next controller waits this long for the old leader; there is but one candidate here."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a mesh below its state directory."""

    state: Path
    ports: Ports
    leaf_ttl: str = "72h"
    lease_ttl: str = "15s"

    @property
    def ca(self) -> Path:
        """The root of the development CA."""
        return self.state / "ca"

    @property
    def controller_ca(self) -> Path:
        """The controller's own intermediate."""
        return self.state / "controller" / "ca"

    @property
    def public(self) -> Path:
        """The gateway's public certificate and its key."""
        return self.state / "gateway" / "public"

    @property
    def tokens(self) -> Mapping[str, Path]:
        """The join token's file of each host."""
        return {HOST: self.state / "agent" / "token", GATEWAY_HOST: self.state / "gateway" / "agent" / "token"}

    @property
    def etcd_url(self) -> str:
        """Where etcd answers clients."""
        return f"http://{ADDRESS}:{self.ports.etcd}"

    def directories(self) -> list[Path]:
        """All that must be there before a process starts."""
        below = ("etcd", "controller", "agent", "engine", "gateway/agent", "gateway/engine")
        own = ("log", "hold", "replace", "config")
        return [self.state, *(self.state / name for name in (*below, *own))]

    def configurations(self) -> Mapping[Path, str]:
        """Every configuration file and its text."""
        state, ports = self.state, self.ports
        etcd = {"endpoints": [self.etcd_url], "root": ROOT, "lease_ttl": self.lease_ttl}
        controllers = f"https://{ADDRESS}:{ports.hosts}"
        return {
            self._config("engine"): _toml(
                {"state_dir": state / "engine", "socket": state / ENGINE_SOCKET},
                admin={"listen": f"{ADDRESS}:{ports.metrics}"},
            ),
            self._config("gateway"): _toml(
                {"state_dir": state / "gateway/engine", "socket": state / GATEWAY_SOCKET},
                admin={"listen": f"{ADDRESS}:{ports.gateway_metrics}"},
            ),
            self._config("controller"): _toml(
                {"host": CONTROLLER, "advertise": ADDRESS, "state_dir": state / "controller", "leader_ttl": LEADER_TTL},
                etcd=etcd,
                hosts={"listen": f"{ADDRESS}:{ports.hosts}"},
                api={"listen": f"{ADDRESS}:{ports.controller}"},
                ca={"dir": self.controller_ca, "leaf_ttl": self.leaf_ttl},
                mesh={"trust_domain": TRUST_DOMAIN, "datacenter": DATACENTER},
            ),
            self._config("agent"): _toml(
                {"host": HOST, "advertise": ADDRESS, "state_dir": state / "agent"},
                api={"listen": f"{ADDRESS}:{ports.agent}"},
                engine={"socket": state / ENGINE_SOCKET},
                inbound={"port": ports.inbound},
                etcd=etcd,
                controllers={"urls": [controllers], "token_file": self.tokens[HOST]},
            ),
            self._config("gateway_agent"): _toml(
                {"host": GATEWAY_HOST, "advertise": ADDRESS, "state_dir": state / "gateway/agent"},
                api={"listen": f"{ADDRESS}:{ports.gateway_agent}"},
                engine={"socket": state / GATEWAY_SOCKET},
                etcd=etcd,
                controllers={"urls": [controllers], "token_file": self.tokens[GATEWAY_HOST]},
                gateway={"name": GATEWAY},
            ),
        }

    def processes(self, *, engine: Path, etcd: Path, weft: list[str]) -> Mapping[str, Spec]:
        """Every process by the name it has in `endpoints.json`, `hold/` and `log/`."""
        commands = {
            "etcd": [str(etcd), *self._etcd_flags()],
            "engine": [str(engine), "--config", str(self._config("engine")), "--replace"],
            "gateway": [str(engine), "--config", str(self._config("gateway")), "--replace"],
            "controller": [*weft, "controller", "--config", str(self._config("controller"))],
            "agent": [*weft, "agent", "--config", str(self._config("agent"))],
            "gateway_agent": [*weft, "gateway", "--config", str(self._config("gateway_agent"))],
        }
        return {
            name: Spec(name, tuple(command), last=name == "etcd", succeeds="--replace" in command)
            for name, command in commands.items()
        }

    def _config(self, process: str) -> Path:
        return self.state / "config" / f"{process}.toml"

    def _etcd_flags(self) -> list[str]:
        peers = f"http://{ADDRESS}:{self.ports.etcd_peers}"
        flags = {
            "name": "dev",
            "data-dir": str(self.state / "etcd"),
            "listen-client-urls": self.etcd_url,
            "advertise-client-urls": self.etcd_url,
            "listen-peer-urls": peers,
            "initial-advertise-peer-urls": peers,
            "initial-cluster": f"dev={peers}",
            "heartbeat-interval": "20",
            "election-timeout": "100",
            "auto-compaction-mode": "periodic",
            "auto-compaction-retention": "1h",
            "log-level": "warn",
        }
        return [part for name, value in flags.items() for part in (f"--{name}", value)]


def _toml(top: Mapping[str, object], **tables: Mapping[str, object]) -> str:
    """A TOML text of strings, numbers and lists of strings: of these JSON's spelling is TOML's."""
    parts = [_lines(top)]
    parts += [f"\n[{name}]\n{_lines(table)}" for name, table in tables.items()]
    return "".join(parts)


def _lines(table: Mapping[str, object]) -> str:
    return "".join(f"{key} = {json.dumps(value, default=str, ensure_ascii=False)}\n" for key, value in table.items())
