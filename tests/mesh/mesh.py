"""A whole mesh as a stranger starts it, for tests that look at it from outside."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
WEFT = Path(sys.executable).parent / "weft"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, fields in lower case, body."""

    status: int
    fields: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The engine's word for its own answer, or empty."""
        return self.fields.get("x-weft-reason", "")


def request(
    url: str,
    *,
    method: str = "GET",
    host: str | None = None,
    fields: Mapping[str, str] | None = None,
    body: bytes | None = None,
    tls: ssl.SSLContext | None = None,
    timeout: float = 10.0,
) -> Answer:
    """One request on a connection of its own."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=tls)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    with contextlib.closing(connection):
        sent = dict(fields or {})
        if host is not None:
            sent["Host"] = host
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body=body, headers=sent)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def eventually(what: str, probe: Callable[[], T | None], *, within: float = 10.0, every: float = 0.02) -> T:
    """The first answer of `probe` that is neither None nor False; fails naming `what` after `within` seconds."""
    end = time.monotonic() + within
    last: BaseException | None = None
    while True:
        try:
            found = probe()
            last = None
        except (OSError, http.client.HTTPException, KeyError, ValueError, AssertionError) as error:
            found, last = None, error
        if found is not None and found is not False:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {what}" + (f" (last: {last!r})" if last else ""))
        time.sleep(every)


class Mesh:
    """A running `weft dev` or `weft demo`, known by its state directory."""

    def __init__(self, state: Path, process: subprocess.Popen[bytes]) -> None:
        self.state = state
        self.process = process

    @property
    def endpoints(self) -> Any:
        """`endpoints.json` as it is now: it is replaced at every restart of a process."""
        return json.loads((self.state / "endpoints.json").read_bytes())

    @property
    def gateway(self) -> str:
        """The gateway's plain URL."""
        url: str = self.endpoints["gateway"]["http"]
        return url.rstrip("/")

    @property
    def environment(self) -> dict[str, str]:
        """What a person's shell needs to talk to this mesh."""
        return {
            **os.environ,
            "WEFT_STATE": str(self.state),
            "PATH": f"{WEFT.parent}:{ROOT / '.tools/bin'}:{os.environ['PATH']}",
        }

    def weft(
        self, *arguments: str, stdin: str | None = None, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run the command against this mesh."""
        return subprocess.run(
            [str(WEFT), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment,
            check=False,
        )

    def etcdctl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run `etcdctl` as an operator would; keys are absolute."""
        done = subprocess.run(
            ["etcdctl", "--endpoints", self.endpoints["etcd"], *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            env={**self.environment, "ETCDCTL_API": "3"},
            check=False,
        )
        assert done.returncode == 0, f"etcdctl {arguments}: {done.stderr}"
        return done.stdout

    def put(self, kind: str, name: str, document: str, *, namespace: str = "default") -> int:
        """`etcdctl put` of a document; the revision of the write."""
        key = f"{self.endpoints['root']}policy/{namespace}/{kind}/{name}"
        answer = json.loads(self.etcdctl("put", key, "-w", "json", stdin=document))
        revision: int = answer["header"]["revision"]
        return revision

    def remove(self, kind: str, name: str, *, namespace: str = "default") -> int:
        """`etcdctl del` of a document; the revision."""
        key = f"{self.endpoints['root']}policy/{namespace}/{kind}/{name}"
        revision: int = json.loads(self.etcdctl("del", key, "-w", "json"))["header"]["revision"]
        return revision

    def status_of(self, kind: str, name: str, *, namespace: str = "default") -> Any:
        """The status key of a document, or None."""
        key = f"{self.endpoints['root']}status/policy/{namespace}/{kind}/{name}"
        value = self.etcdctl("get", key, "--print-value-only")
        return json.loads(value) if value.strip() else None

    def wait(self, revision: int, *, timeout: int = 30) -> None:
        """`weft wait --revision`."""
        done = self.weft("wait", "--revision", str(revision), "--timeout", f"{timeout}s")
        assert done.returncode == 0, f"weft wait: {done.returncode} {done.stdout} {done.stderr}"

    def get(self, path: str = "/", *, host: str | None = None, **more: Any) -> Answer:
        """A request through the gateway's plain port."""
        return request(self.gateway + path, host=host, **more)

    def upstream(self, caller: str = "web", service: str = "api") -> str:
        """The local address at which a service calls its upstream."""
        url: str = self.endpoints["upstreams"][caller][service]
        return url.rstrip("/")

    def pid(self, process: str) -> int:
        """The process id by name: `agent`, `engine`, … or a sample's instance."""
        pids = self.endpoints["pids"]
        found: int = pids[process] if process in pids else pids["services"][process]
        return found

    def signal(self, process: str, number: signal.Signals) -> int:
        """Send a signal; the id of the process that got it."""
        pid = self.pid(process)
        os.kill(pid, number)
        return pid

    def hold(self, process: str) -> None:
        """Keep a process from being restarted once it is dead."""
        (self.state / "hold").mkdir(exist_ok=True)
        (self.state / "hold" / process).touch()

    def release(self, process: str) -> None:
        """Let it be restarted again."""
        (self.state / "hold" / process).unlink(missing_ok=True)

    def restarted(self, process: str, before: int, *, within: float = 15.0) -> int:
        """Wait until the process runs under another id."""
        return eventually(
            f"{process} is restarted", lambda: p if (p := self.pid(process)) != before else None, within=within
        )

    def kill(self, process: str) -> int:
        """kill -9, and wait until it runs again; its new id."""
        return self.restarted(process, self.signal(process, signal.SIGKILL))

    def ready(self, *, within: float = 60.0) -> None:
        """Wait until a request reaches every sample through the gateway."""
        eventually("the gateway answers 200 with what api said", self._answers, within=within)

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the mesh ended with {self.process.returncode}: see {self.state / 'log'}")
        answer = self.get("/")
        return answer.status == 200 and "api" in answer.json

    def logs(self, *, last: int = 3_000) -> str:
        """The end of every log, for a failure's report."""
        parts = []
        for log in sorted((self.state / "log").glob("*.log")):
            parts.append(f"== {log.name}\n{log.read_text(errors='replace')[-last:]}")
        return "\n".join(parts)


@contextlib.contextmanager
def running(command: Sequence[str] = ("demo",), *, state: Path | None = None, ready: bool = True) -> Iterator[Mesh]:
    """`weft demo` or `weft dev` on free ports, until the scope ends; every process it started is gone then."""
    with contextlib.ExitStack() as scope:
        if state is None:
            state = Path(scope.enter_context(tempfile.TemporaryDirectory(prefix="weft-mesh-")))
        output = scope.enter_context((state / "output.txt").open("wb"))
        process = subprocess.Popen(
            [str(WEFT), *command, "--state", str(state), "--ports", "auto"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": f"{ROOT / '.tools/bin'}:{os.environ['PATH']}"},
            start_new_session=True,
        )
        mesh = Mesh(state, process)
        try:
            eventually(
                f"endpoints.json of weft {' '.join(command)}",
                lambda: (state / "endpoints.json").exists() or process.poll() is not None,
                within=60,
            )
            assert process.poll() is None, (state / "output.txt").read_text()
            if ready:
                mesh.ready()
            yield mesh
        except BaseException:
            print((state / "output.txt").read_text(errors="replace")[-4_000:])
            print(mesh.logs())
            raise
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
