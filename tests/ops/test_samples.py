"""The samples as processes: what they tell, what they pass on, and how they behave badly when told to."""

from __future__ import annotations

import ast
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from ops.demo.samples import SCRIPT
from proxy.ports import PortClaims
from tests.mesh.mesh import Answer, eventually, request


class Samples:
    """Starts samples and ends them."""

    def __init__(self, directory: Path, scope: ExitStack) -> None:
        self._directory = directory
        self._scope = scope
        self._claims = scope.enter_context(PortClaims())
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, instance: str, *, port: int | None = None, **upstreams: str) -> str:
        """Its URL, once it answers."""
        port = port or self._claims.claim()
        command = [sys.executable, "-S", str(SCRIPT), "--service", instance.partition("-")[0], "--instance", instance]
        command += ["--version", "v7", "--port", str(port), "--trouble", str(self.trouble(instance))]
        urls = {f"WEFT_UPSTREAM_{name.upper()}_URL": url for name, url in upstreams.items()}
        process = subprocess.Popen(command, env={**os.environ, **urls})
        self._processes[instance] = process
        self._scope.callback(self.end, instance)
        url = f"http://127.0.0.1:{port}"
        eventually(f"{instance} answers", lambda: request(f"{url}/healthz").status == 200)
        return url

    def trouble(self, instance: str) -> Path:
        """Its file of bad behaviour."""
        return self._directory / f"{instance}.json"

    def end(self, instance: str) -> None:
        """SIGTERM, to which it answers with 0; one that ended is no error."""
        process = self._processes.pop(instance, None)
        if process is not None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Samples]:
    """None running yet."""
    with ExitStack() as scope:
        yield Samples(tmp_path, scope)


def test_a_sample_tells_who_it_is_and_what_it_received(samples: Samples) -> None:
    answer = request(samples.start("api-1") + "/some/path?x=1", method="POST", body=b"hello", fields={"X-Mine": "yes"})
    assert answer.status == 200
    said = answer.json
    assert (said["service"], said["instance"], said["version"]) == ("api", "api-1", "v7")
    received = said["received"]
    assert (received["method"], received["path"]) == ("POST", "/some/path?x=1")
    assert (received["length"], received["body"]) == (5, "hello")
    assert received["headers"]["x-mine"] == "yes"


def test_a_body_in_chunks_and_several_requests_fit_on_one_connection(samples: Samples) -> None:
    host = samples.start("api-1").removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=10)) as connection:
        for number in range(3):
            connection.request("PUT", "/", body=iter([b"a" * 10_000, b"b"]), encode_chunked=True)
            response = connection.getresponse()
            assert json.loads(response.read())["received"]["length"] == 10_001, number
            assert not response.will_close


def test_a_sample_includes_what_its_upstream_answered_and_passes_the_trace_on(samples: Samples) -> None:
    web = samples.start("web-1", api=samples.start("api-1"))
    said = request(f"{web}/deep/path", fields={"x-request-id": "r-1"}).json
    assert said["service"] == "web"
    assert said["api_status"] == 200
    assert said["api"]["service"] == "api"
    assert said["api"]["received"]["path"] == "/deep/path"
    assert said["api"]["received"]["headers"]["x-request-id"] == "r-1"


def test_a_kept_connection_that_went_stale_costs_no_request(samples: Samples) -> None:
    api = samples.start("api-1")
    web = samples.start("web-1", api=api)
    assert request(web).status == 200
    samples.end("api-1")
    samples.start("api-1", port=int(api.rpartition(":")[2]))
    assert request(web).status == 200


def test_without_its_upstream_it_answers_502_and_says_why(samples: Samples) -> None:
    web = samples.start("web-1", api="http://127.0.0.1:9")
    answer = request(web)
    assert answer.status == 502
    assert "ConnectionRefusedError" in answer.json["api"]["error"]
    assert request(f"{web}/healthz").status == 200


def test_told_to_it_fails_and_is_slow_until_the_file_is_gone(samples: Samples) -> None:
    api = samples.start("api-1")
    web = samples.start("web-1", api=api)
    samples.trouble("api-1").write_text('{"status": 503}')
    assert _statuses(request(web)) == (503, 503)
    assert request(f"{api}/healthz").status == 200
    samples.trouble("api-1").write_text('{"delay": 1.5}')
    with pytest.raises(TimeoutError):
        request(api, timeout=0.5)
    samples.trouble("api-1").unlink()
    assert _statuses(request(web)) == (200, 200)
    with pytest.raises(TimeoutError):
        request(f"{api}/slow?ms=1500", timeout=0.5)


def test_the_samples_import_nothing_of_ours() -> None:
    tree = ast.parse(SCRIPT.read_text())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in named} <= sys.stdlib_module_names


def _statuses(answer: Answer) -> tuple[int, Any]:
    return answer.status, answer.json["api_status"]
