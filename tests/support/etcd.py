"""Real etcd for tests: one process or a cluster, that can be killed, frozen, compacted and brought back.

The binary is `WEFT_ETCD`, else `etcd` on PATH, else `.tools/bin/etcd`. Tests that only need a store take the fixture
`etcd_config`: one etcd for all tests of a worker, and a root of its own for each, so that they neither wait nor meet.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from proxy.ports import PortClaims
from registry.etcd import EtcdConfig

_HEARTBEAT = ("--heartbeat-interval", "20", "--election-timeout", "200")
_REPOSITORY = Path(__file__).parents[2]


def etcd_binary() -> Path:
    """Where etcd is; raises FileNotFoundError that says how to get it."""
    named = os.environ.get("WEFT_ETCD")
    candidates = [named, shutil.which("etcd"), str(_REPOSITORY / ".tools/bin/etcd")]
    for candidate in candidates:
        if candidate and Path(candidate).exists():
            return Path(candidate)
    raise FileNotFoundError("no etcd: run `make setup`, put it on PATH, or set WEFT_ETCD to the binary")


@functools.cache
def etcd_version() -> tuple[int, int, int]:
    """The version of the binary under test."""
    text = subprocess.run([etcd_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", text)
    assert found, text
    major, minor, patch = map(int, found.groups())
    return major, minor, patch


@dataclasses.dataclass(frozen=True)
class Tls:
    """Files of a TLS etcd: its CA, its own pair, and a pair for clients."""

    ca: Path
    certificate: Path
    key: Path
    client_certificate: Path
    client_key: Path


class EtcdProcess:
    """One member. Its ports and data stay its own through kill, freeze and restart."""

    def __init__(self, directory: Path, ports: PortClaims, *, name: str = "m0", tls: Tls | None = None) -> None:
        self.name = name
        self.client_port = ports.claim()
        self.peer_port = ports.claim()
        self._health = f"http://127.0.0.1:{ports.claim()}"
        self._directory = directory
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self._cluster = f"{name}={self.peer_url}"

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.client_port}"

    @property
    def peer_url(self) -> str:
        """Where the other members find it."""
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def pid(self) -> int:
        """The running process."""
        assert self._process is not None, f"etcd {self.name} is not running"
        return self._process.pid

    @property
    def log(self) -> Path:
        """What it said."""
        return self._directory / f"{self.name}.log"

    def join(self, members: Sequence[EtcdProcess]) -> None:
        """Be one of these from the next start on."""
        self._cluster = ",".join(f"{member.name}={member.peer_url}" for member in members)

    def start(self) -> None:
        """Start it, without waiting."""
        assert self._process is None, f"etcd {self.name} is running"
        command: list[str | Path] = [etcd_binary(), "--name", self.name, "--data-dir", self._directory / self.name]
        command += ["--listen-client-urls", self.url, "--advertise-client-urls", self.url]
        command += ["--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url]
        command += ["--listen-metrics-urls", self._health]
        command += ["--initial-cluster", self._cluster, "--initial-cluster-token", str(self._directory)]
        command += ["--log-level", "warn", "--logger", "zap", *_HEARTBEAT]
        if etcd_version() >= (3, 5, 0):
            command += ["--unsafe-no-fsync"]
        if self._tls:
            command += ["--cert-file", self._tls.certificate, "--key-file", self._tls.key]
            command += ["--trusted-ca-file", self._tls.ca, "--client-cert-auth"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait(self, *, timeout: float = 20.0) -> None:
        """Until it is healthy: it serves, and knows a leader."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            assert self._process is None or self._process.poll() is None, self.log.read_text()[-2000:]
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self._health}/health", timeout=1.0):
                return
            time.sleep(0.01)
        raise TimeoutError(f"etcd {self.name} was not healthy within {timeout} s: {self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9, frozen or not; one that is not running is no error."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: its connections stay open, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Kill it if it runs, start it on its own data, and wait."""
        self.kill()
        self.start()
        self.wait()

    def ctl(self, *arguments: str, flags: Sequence[str] = ()) -> str:
        """What etcdctl answers; its binary lies beside etcd's."""
        command: list[str | Path] = [
            etcd_binary().resolve().with_name("etcdctl"),
            "--endpoints",
            self.url,
            *flags,
            *arguments,
        ]
        environment = {**os.environ, "ETCDCTL_API": "3"}
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20, env=environment).stdout

    def compact(self, revision: int) -> None:
        """Forget what was before this revision; a member that is frozen or gone is not waited for."""
        self.ctl("compact", str(revision), flags=("--command-timeout=1s", "--dial-timeout=1s"))


@contextlib.contextmanager
def etcd_cluster(directory: Path, members: int = 1, *, tls: Tls | None = None) -> Iterator[list[EtcdProcess]]:
    """Members that know each other, started and ready; killed at the end."""
    directory.mkdir(parents=True, exist_ok=True)
    with PortClaims() as ports:
        processes = [EtcdProcess(directory, ports, name=f"m{number}", tls=tls) for number in range(members)]
        try:
            for process in processes:
                process.join(processes)
                process.start()
            for process in processes:
                process.wait()
            yield processes
        finally:
            for process in processes:
                process.kill()


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    """The etcd that all tests of this worker share. Whoever hurts etcd starts one of their own (`etcd_cluster`)."""
    with etcd_cluster(tmp_path_factory.mktemp("etcd")) as [process]:
        yield process


_roots = itertools.count(1)


@pytest.fixture
def etcd_config(etcd: EtcdProcess) -> EtcdConfig:
    """The shared etcd, below a root that no other test has."""
    return EtcdConfig(endpoints=(etcd.url,), root=f"/weft-test-{next(_roots)}/")
