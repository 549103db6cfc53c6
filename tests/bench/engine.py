"""The engine under the bench: a process with the sections and identities it is given, over its own socket, without an agent.

The client here is the smallest that can measure: one frame out, one answer in, and the time between.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from policy.compiled import Service
from proxy import frames, sections
from proxy.ports import PortClaims
from registry.names import ServiceName
from tests.bench.certificates import CALLED, CALLER, DATACENTER, INSTANCE, TRUST_DOMAIN, Files
from tests.bench.peers import Running, await_port

HOST = "bench-1"
OUTSIDE = ServiceName("default", "plain")
"""The service that is spoken to in plain."""

_WITHIN = 30.0


class EngineRefusedError(RuntimeError):
    """The engine did not take what the bench offered."""

    code = "engine_refused"


class Engine:
    """One process and the one connection that configures it."""

    def __init__(self, directory: Path, *, claims: PortClaims, workers: int = 1) -> None:
        directory.mkdir()
        self._socket = directory / "engine.sock"
        self._config = directory / "engine.toml"
        self._log = directory / "engine.log"
        self._config.write_text(
            f'state_dir = "{directory / "state"}"\nsocket = "{self._socket}"\nworkers = {workers}\n'
            f'[admin]\nlisten = "127.0.0.1:{claims.claim()}"\n[log]\nlevel = "warning"\n'
        )
        self._epoch = self._generation = 0
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None, "the engine is not running"
        return self._process.pid

    def start(self) -> None:
        """Start the process, without waiting for it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [os.environ["WEFT_ENGINE"], "--config", self._config], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop(self) -> None:
        """End it in order, everything acked being on disk then."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=20)
            self._process = None

    def connect(self) -> None:
        """Say hello as its agent."""
        self._control = control = socket.socket(socket.AF_UNIX)
        control.settimeout(_WITHIN)
        end = time.monotonic() + _WITHIN
        while True:
            try:
                control.connect(str(self._socket))
                break
            except OSError:
                if time.monotonic() > end or self._process is None or self._process.poll() is not None:
                    raise EngineRefusedError(f"the engine does not start: {self._log.read_text()}") from None
                time.sleep(0.01)
        self._send("hello", {"schema": sections.SCHEMA, "agent": "bench"})
        welcome = self._answer()
        assert isinstance(welcome, frames.Welcome), welcome
        self._generation = welcome.base

    def trust(self, ca: Path) -> None:
        """Believe certificates of this CA."""
        self._change("trust", {"bundles": {TRUST_DOMAIN: _chain(ca)}, "revoked": []})

    def identify(self, name: ServiceName, files: Files) -> None:
        """Show this certificate as that service."""
        key = serialization.load_pem_private_key(files.key.read_bytes(), None).private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._change("identity", {"service": str(name), "chain": _chain(files.chain), "key": key})

    def apply(self, changed: Mapping[str, object], *, reset: bool = False) -> float:
        """Serve these sections; seconds from the first byte sent to the ack. They are packed before that."""
        base, self._generation = self._generation, self._generation + 1
        fields = {
            "base": base, "generation": self._generation, "policy": self._generation, "registry": 0, "reset": reset,
            "set": {name: sections.encode(section) for name, section in changed.items()}, "delete": [],
        }  # fmt: skip
        frame = frames.encode("apply", fields)
        assert self._control is not None, "not connected"
        start = time.perf_counter()
        self._control.sendall(frame)
        answer = self._answer()
        took = time.perf_counter() - start
        if answer != frames.Ack(self._generation):
            raise EngineRefusedError(f"{answer!r}")
        return took

    def _change(self, kind: str, fields: Mapping[str, object]) -> None:
        self._epoch += 1
        self._send(kind, {"epoch": self._epoch, **fields})
        answer = self._answer()
        if answer != frames.EpochAck(self._epoch):
            raise EngineRefusedError(f"{answer!r}")

    def _send(self, kind: str, fields: Mapping[str, object]) -> None:
        assert self._control is not None, "not connected"
        self._control.sendall(frames.encode(kind, fields))

    def _answer(self) -> frames.FromEngine:
        while True:
            (length,) = struct.unpack(">I", self._receive(4))
            frame = frames.decode(self._receive(length))
            if not isinstance(frame, frames.Event | frames.Other):
                return frame

    def _receive(self, count: int) -> bytes:
        assert self._control is not None, "not connected"
        received = bytearray()
        while len(received) < count:
            piece = self._control.recv(count - len(received))
            if not piece:
                raise EngineRefusedError(f"the engine closed its socket: {self._log.read_text()[-2000:]}")
            received += piece
        return bytes(received)


@contextlib.contextmanager
def running(directory: Path, *, claims: PortClaims, workers: int = 1) -> Iterator[Engine]:
    """An engine that is connected to and serves nothing yet."""
    engine = Engine(directory, claims=claims, workers=workers)
    try:
        engine.start()
        engine.connect()
        engine.apply({sections.HOST: sections.Host(HOST, "", TRUST_DOMAIN, DATACENTER)}, reset=True)
        yield engine
    finally:
        engine.stop()


@contextlib.contextmanager
def plain_proxy(
    directory: Path,
    *,
    claims: PortClaims,
    upstream_port: int,
    workers: int = 1,
    protocol: Literal["http", "grpc"] = "http",
    name: str = "engine",
) -> Iterator[Running]:
    """The engine in front of a port outside the mesh."""
    port = claims.claim()
    with running(directory, claims=claims, workers=workers) as engine:
        engine.apply(_leads_to(OUTSIDE, port, f"127.0.0.1:{upstream_port}", outside=True, protocol=protocol))
        await_port(port)
        yield Running(name, port, (engine.pid,))


@contextlib.contextmanager
def caller(directory: Path, *, claims: PortClaims, upstream_port: int, client: Files) -> Iterator[Running]:
    """The engine in front of a port that takes mutual TLS and proves to be the called service."""
    port = claims.claim()
    with running(directory, claims=claims) as engine:
        engine.trust(client.ca)
        engine.identify(CALLER, client)
        engine.apply(_leads_to(CALLED, port, f"127.0.0.1:{upstream_port}"))
        await_port(port)
        yield Running("engine", port, (engine.pid,))


@contextlib.contextmanager
def called(directory: Path, *, claims: PortClaims, upstream_port: int, server: Files) -> Iterator[Running]:
    """The engine of the called service, which takes mutual TLS."""
    port = claims.claim()
    with running(directory, claims=claims) as engine:
        engine.trust(server.ca)
        engine.identify(CALLED, server)
        here = sections.Endpoint(INSTANCE, HOST, f"127.0.0.1:{port}", upstream_port, 100, "", {}, "up")
        engine.apply(
            {
                sections.INBOUND: sections.Inbound(f"127.0.0.1:{port}"),
                sections.service(CALLED): Service(),
                sections.endpoints(CALLED): sections.Endpoints((here,)),
            }
        )
        await_port(port)
        yield Running("engine", port, (engine.pid,))


def _leads_to(
    service: ServiceName,
    port: int,
    address: str,
    *,
    outside: bool = False,
    protocol: Literal["http", "grpc"] = "http",
) -> dict[str, object]:
    there = sections.Endpoint(INSTANCE, "bench-2", address, 0, 100, "", {}, "up")
    return {
        sections.outbound(CALLER, service): sections.Outbound(f"127.0.0.1:{port}", str(CALLER), str(service)),
        sections.service(service): Service(protocol=protocol),
        sections.endpoints(service): sections.Endpoints((there,), outside=outside),
    }


def _chain(pem: Path) -> list[bytes]:
    found = x509.load_pem_x509_certificates(pem.read_bytes())
    return [certificate.public_bytes(serialization.Encoding.DER) for certificate in found]
