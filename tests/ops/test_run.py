"""`weft run`: any program in the mesh while it runs, and none of it afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ops.demo.samples import SCRIPT
from proxy.ports import PortClaims
from tests.mesh.mesh import WEFT, Mesh, eventually, request, running


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """A mesh without samples."""
    with running(("dev",), ready=False) as mesh:
        yield mesh


@pytest.fixture
def port() -> Iterator[int]:
    """For a program to listen on."""
    with PortClaims() as claims:
        yield claims.claim()


def started(mesh: Mesh, service: str, port: int, *options: str) -> subprocess.Popen[bytes]:
    """A sample, run by `weft run`."""
    sample = [sys.executable, str(SCRIPT), "--service", service, "--instance", f"{service}-x", "--port", str(port)]
    command = [str(WEFT), "run", "--service", service, "--port", str(port), *options, "--", *sample]
    return subprocess.Popen(command, env=mesh.environment)


def registered(mesh: Mesh, service: str) -> list[Any]:
    """What the agent lists of a service."""
    answer = request(f"{mesh.endpoints['agent']}/v1/services/{service}")
    found: list[Any] = answer.json["instances"] if answer.status == 200 else []
    return found


def test_a_program_is_in_the_mesh_while_it_runs_and_gone_afterwards(mesh: Mesh, port: int) -> None:
    hello = started(mesh, "hello", port, "--version", "v3", "--instance", "hello-1")
    try:
        answer = eventually(
            "the gateway reaches it", lambda: a if (a := mesh.get("/", host="hello.localhost")).status == 200 else None
        )
        assert answer.json["service"] == "hello"
        assert answer.json["received"]["headers"]["x-weft-caller"].endswith("/gateway/edge")
        stored = json.loads(mesh.etcdctl("get", "/weft/registry/default/hello/hello-1", "--print-value-only"))
        assert stored["labels"] == {"version": "v3"}
    finally:
        hello.send_signal(signal.SIGTERM)
        assert hello.wait(timeout=15) == 0, "the program's own exit code"
    told = json.loads(mesh.etcdctl("get", "/weft/registry/default/hello/hello-1", "--print-value-only"))
    assert told["gone"] == "deregistered"
    eventually("its route left with it", lambda: mesh.get("/", host="hello.localhost").status == 404)


def test_it_calls_others_where_the_environment_says(mesh: Mesh, port: int) -> None:
    with PortClaims() as claims:
        api = started(mesh, "api", claims.claim())
        web = started(mesh, "web", port, "--upstream", "api")
        try:
            answer = eventually(
                "web and api answer", lambda: a if (a := mesh.get("/")).status == 200 else None, within=15
            )
            assert answer.json["api"]["service"] == "api"
            assert answer.json["api"]["received"]["headers"]["x-weft-caller"].endswith("/svc/web")
        finally:
            for process in (web, api):
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=15) == 0


def test_the_exit_code_is_the_programs_and_its_registration_ends_with_it(mesh: Mesh, port: int) -> None:
    command = ["run", "--service", "brief", "--port", str(port), "--", "/bin/sh", "-c", "exit 7"]
    assert mesh.weft(*command).returncode == 7
    assert not [one for one in registered(mesh, "brief") if one["state"] != "gone"]


def test_a_program_that_a_signal_ends_is_told_as_shells_tell_it(mesh: Mesh, port: int) -> None:
    done = mesh.weft("run", "--service", "brief", "--port", str(port), "--", "/bin/sh", "-c", "kill -9 $$")
    assert done.returncode == 128 + 9


def test_what_cannot_be_started_is_said_and_not_left_behind(mesh: Mesh, port: int) -> None:
    done = mesh.weft("run", "--service", "ghost", "--port", str(port), "--", "/nowhere/ghost")
    assert done.returncode == 1
    assert "/nowhere/ghost cannot be started: No such file or directory" in done.stderr
    assert not [one for one in registered(mesh, "ghost") if one["state"] != "gone"]


def test_what_the_agent_refuses_is_not_started(mesh: Mesh, port: int) -> None:
    done = mesh.weft("run", "--service", "s", "--instance", "No_Name", "--port", str(port), "--", "/bin/echo", "ran")
    assert done.returncode in (2, 4)
    assert "No_Name" in done.stderr
    assert "ran" not in done.stdout


def test_without_a_mesh_it_says_so(mesh: Mesh, port: int) -> None:
    done = mesh.weft("run", "--state", "/nowhere", "--service", "s", "--port", str(port), "--", "/bin/true")
    assert done.returncode == 3
    assert "weft demo" in done.stderr
