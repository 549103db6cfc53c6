"""Hosts of a mesh without etcd and without controllers: an agent and an engine each, certificates carried by hand."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from proxy.ports import PortClaims
from tests.mesh.mesh import WEFT, eventually
from tests.support.engine import engine_binary

CLIENT = """
import http.client, json, sys
host, port, path, method, fields = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], json.loads(sys.argv[5])
connection = http.client.HTTPConnection(host, port, timeout=10)
connection.request(method, path, headers=fields)
response = connection.getresponse()
print(json.dumps({"status": response.status, "fields": {k.lower(): v for k, v in response.getheaders()}, "body": response.read().decode()}))
"""

APPLICATION = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Application(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps({"name": sys.argv[2], "caller": self.headers.get("x-weft-caller", "")}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Application).serve_forever()
"""


@dataclass(slots=True)
class BareHost:
    """One host: where it is, and what runs there. `inside` is the prefix of commands that run on it."""

    name: str
    address: str
    directory: Path
    inside: Sequence[str]
    ports: PortClaims
    scope: contextlib.ExitStack
    inbound: int = field(init=False)
    agent: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.inbound = self.ports.claim()
        self.directory.mkdir(parents=True)
        (self.directory / "policies.d").mkdir()
        (self.directory / "engine.toml").write_text(
            f'state_dir = "{self.directory / "engine"}"\nsocket = "{self.directory / "engine.sock"}"\nworkers = 1\n'
            f'[admin]\nlisten = "127.0.0.1:{self.ports.claim()}"\n'
        )
        (self.directory / "agent.toml").write_text(
            f'host = "{self.name}"\nadvertise = "{self.address}"\nstate_dir = "{self.directory / "agent"}"\n'
            'trust_domain = "bare"\ndatacenter = "dc1"\n'
            f'[api]\nlisten = "127.0.0.1:{self.ports.claim()}"\nsocket = "{self.directory / "agent.sock"}"\n'
            f'[engine]\nsocket = "{self.directory / "engine.sock"}"\n[inbound]\nport = {self.inbound}\n'
            f'[mdns]\nenabled = true\ninterfaces = ["{self.address}"]\n'
            f'[policies]\ndir = "{self.directory / "policies.d"}"\n'
        )

    def start(self) -> None:
        """Engine and agent."""
        self.run([str(engine_binary()), "--config", str(self.directory / "engine.toml")], log="engine")
        self.start_agent()

    def start_agent(self) -> None:
        """The agent alone."""
        self.agent = self.run([str(WEFT), "agent", "--config", str(self.directory / "agent.toml")], log="agent")
        eventually(f"the agent of {self.name} listens", (self.directory / "agent.sock").exists)

    def application(self, name: str) -> int:
        """A small server on this host's loopback; its port."""
        port = self.ports.claim()
        self.run([sys.executable, "-c", APPLICATION, str(port), name], log=name)
        return port

    def run(self, command: Sequence[str], *, log: str) -> subprocess.Popen[bytes]:
        """A process on this host until the scope ends."""
        out = self.scope.enter_context((self.directory / f"{log}.log").open("ab"))
        process = subprocess.Popen(
            [*self.inside, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ}
        )
        self.scope.callback(_end, process)
        return process

    def register(self, service: str, instance: str, body: dict[str, object]) -> dict[str, object]:
        """PUT a registration over the agent's Unix socket; what it answered."""
        content = json.dumps(body).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(str(self.directory / "agent.sock"))
            connection.sendall(
                f"PUT /v1/services/{service}/instances/{instance} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n"
                f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n".encode()
                + content
            )
            answer = b""
            while part := connection.recv(65536):
                answer += part
        head, _, tail = answer.partition(b"\r\n\r\n")
        assert head.split(b" ", 2)[1] in (b"200", b"201"), answer
        found: dict[str, object] = json.loads(tail)
        return found

    def sign(self, ca: Path, service: str) -> None:
        """Carry a service's request to the CA and its certificate back, as a person would."""
        identity = self.directory / "agent" / "identity"
        (identity / "trust" / "root.pem").write_bytes((ca / "root.pem").read_bytes())
        request = identity / "requests" / f"{service}.default.csr"
        eventually(f"{request} is there", request.exists)
        signed = subprocess.run(
            [str(WEFT), "ca", "sign", str(request), "--ca", str(ca), "--services", f"default/{service}"],
            capture_output=True, check=False, timeout=30,
        )  # fmt: skip
        assert signed.returncode == 0, signed.stderr
        (identity / "certificates" / f"{service}.default.pem").write_bytes(signed.stdout)

    def get(self, port: int, path: str = "/", **fields: str) -> dict[str, object]:
        """A request from an application of this host to a port on its loopback."""
        done = subprocess.run(
            [*self.inside, sys.executable, "-c", CLIENT, "127.0.0.1", str(port), path, "GET", json.dumps(fields)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise OSError(done.stderr[-300:])
        found: dict[str, object] = json.loads(done.stdout)
        return found

    def log(self, name: str) -> str:
        """What a process of this host said."""
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def new_ca(directory: Path) -> Path:
    """`weft ca init`: the directory of a new authority."""
    done = subprocess.run(
        [str(WEFT), "ca", "init", str(directory), "--trust-domain", "bare"],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return directory
