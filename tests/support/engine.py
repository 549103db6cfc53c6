"""A real engine for tests: a process with a state directory, a socket and an admin port of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from proxy.ports import PortClaims

_REPOSITORY = Path(__file__).parents[2]


def engine_binary() -> Path:
    """Where the engine is; raises FileNotFoundError that says how to get it."""
    named = os.environ.get("WEFT_ENGINE")
    candidates = [named, str(_REPOSITORY / ".tools/bin/weft-engine"), shutil.which("weft-engine")]
    for candidate in candidates:
        if candidate and Path(candidate).exists():
            return Path(candidate)
    raise FileNotFoundError("no weft-engine: run `make build`, put it on PATH, or set WEFT_ENGINE to the binary")


class EngineProcess:
    """One engine that can be killed and brought back with what it has on disk."""

    def __init__(self, directory: Path, ports: PortClaims, *, workers: int = 1, config: str = "") -> None:
        self.socket = directory / "engine.sock"
        self.admin = f"127.0.0.1:{ports.claim()}"
        self.log = directory / "engine.log"
        self._config = directory / "engine.toml"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        self._config.write_text(
            f'state_dir = "{directory / "engine"}"\nsocket = "{self.socket}"\nworkers = {workers}\n'
            f'[admin]\nlisten = "{self.admin}"\n[log]\nlevel = "debug"\n{config}'
        )

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process is not None, "the engine is not running"
        return self._process.pid

    @property
    def resident(self) -> int:
        """Bytes of memory it has now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no VmRSS of {self.pid}")

    @property
    def spent(self) -> int:
        """Nanoseconds of CPU that its threads have used."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads)

    def metric(self, name: str, label: str = "") -> float:
        """The sum of a metric's series, those with a label only."""
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in lines if re.split(r"[{ ]", line)[0] == name and label in line
        )

    def start(self) -> None:
        """Start it, without waiting."""
        assert self._process is None, "the engine is running"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [engine_binary(), "--config", self._config], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it and wait for its end; one that has ended is no error."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=20)
            self._process = None


@contextlib.contextmanager
def running_engine(directory: Path, ports: PortClaims) -> Iterator[EngineProcess]:
    """An engine for the length of a scope."""
    engine = EngineProcess(directory, ports)
    engine.start()
    try:
        yield engine
    finally:
        engine.kill()
