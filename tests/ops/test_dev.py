"""`weft dev` as a stranger starts it: what it writes, what it restarts, and that nothing of it outlives it."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.mesh import WEFT, Mesh, eventually, request, running

PARTS = {"etcd", "controller", "agent", "engine", "gateway", "gateway_agent"}


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """A mesh without samples, for the tests that leave it running."""
    with running(("dev", "--lease-ttl", "3s", "--leaf-ttl", "1h"), ready=False) as mesh:
        yield mesh


def pids(mesh: Mesh) -> set[int]:
    """Every process that has the state directory among its arguments, `weft dev` itself left out."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(mesh.state).encode() in arguments and int(process.name) != mesh.process.pid:
            found.add(int(process.name))
    return found


def test_endpoints_say_where_everything_is(mesh: Mesh) -> None:
    found = mesh.endpoints
    assert set(found) == {"etcd", "root", "agent", "controller", "gateway", "engine", "upstreams", "pids"}
    assert found["root"] == "/weft/"
    assert re.fullmatch(r"127\.0\.0\.1:\d+", found["engine"]["inbound"])
    assert set(found["pids"]) == PARTS | {"services"}
    assert found["pids"]["services"] == {}
    for url in (f"{found['etcd']}/health", f"{found['agent']}/healthz", f"{found['controller']}/healthz"):
        assert request(url).status == 200, url
    assert b"weft_requests_total" in request(found["engine"]["metrics"]).body
    unrouted = eventually("the gateway answers", lambda: request(found["gateway"]["http"]))
    assert (unrouted.status, unrouted.reason) == (404, "no_route")


def test_every_part_is_a_process_of_its_own_and_ports_are_not_shared(mesh: Mesh) -> None:
    assert {mesh.pid(part) for part in PARTS} <= pids(mesh)
    with running(("dev",), ready=False) as other:
        text, other_text = (json.dumps(one.endpoints) for one in (mesh, other))
        ports, other_ports = (set(re.findall(r"127\.0\.0\.1:(\d+)", one)) for one in (text, other_text))
        assert len(ports) == len(other_ports) == 7
        assert not ports & other_ports
        assert request(f"{other.endpoints['agent']}/healthz").status == 200
        assert mesh.weft("get", "hosts", "-o", "name").returncode == 0


def test_a_second_one_on_the_same_state_says_so_and_ends(mesh: Mesh) -> None:
    second = mesh.weft("dev", "--ports", "auto")
    assert second.returncode == 5
    assert f"a mesh runs already with {mesh.state}" in second.stderr
    assert request(f"{mesh.endpoints['agent']}/healthz").status == 200, "the first goes on"


@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_part_that_is_killed_comes_back_and_endpoints_name_it(mesh: Mesh, part: str) -> None:
    new = mesh.kill(part)
    eventually("it is the program that died", lambda: new in pids(mesh))
    ready = {
        "etcd": f"{mesh.endpoints['etcd']}/health",
        "controller": f"{mesh.endpoints['controller']}/healthz",
        "agent": f"{mesh.endpoints['agent']}/healthz",
        "engine": mesh.endpoints["engine"]["metrics"].replace("/metrics", "/ready"),
    }
    if part in ready:
        eventually(f"{part} answers", lambda: request(ready[part]).status == 200)
    eventually("the gateway answers", lambda: mesh.get("/").status == 404)


def test_its_secrets_are_nobody_elses(mesh: Mesh) -> None:
    assert stat.S_IMODE(mesh.state.stat().st_mode) == 0o700
    tokens = list(mesh.state.glob("**/token"))
    keys = list(mesh.state.glob("**/*.key")) + list(mesh.state.glob("**/key.pem"))
    assert tokens
    assert keys
    assert {stat.S_IMODE(path.stat().st_mode) for path in tokens + keys} == {0o600}
    secrets = [path.read_text().split(".")[1] for path in tokens]
    told = "".join(log.read_text(errors="replace") for log in (mesh.state / "log").iterdir())
    told += "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids(mesh))
    told += mesh.etcdctl("get", "/weft/pki/", "--prefix") + mesh.etcdctl("get", "/weft/roster/", "--prefix")
    assert not [secret for secret in secrets if secret in told]


def test_the_defaults_allow_and_whoever_starts_it_is_told(mesh: Mesh) -> None:
    assert "access: allow" in (mesh.state / "output.txt").read_text()
    assert "access: allow" in mesh.etcdctl("get", "/weft/policy/mesh/defaults/dev", "--print-value-only")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_all_of_it_ends_with_it(number: signal.Signals, tmp_path: Path) -> None:
    with running(("dev",), state=tmp_path, ready=False) as mesh:
        parts = pids(mesh)
        assert len(parts) >= len(PARTS)
        mesh.process.send_signal(number)
        status = mesh.process.wait(timeout=10)
        assert status == (-signal.SIGKILL if number is signal.SIGKILL else 0)
        eventually("every process is gone", lambda: not pids(mesh), within=3)
        gone = mesh.weft("get", "hosts")
        assert gone.returncode == 3
        assert "no mesh runs" in gone.stderr


def test_a_restart_on_the_same_state_goes_on_with_the_same_mesh(tmp_path: Path) -> None:
    with running(("dev",), state=tmp_path, ready=False) as mesh:
        before = mesh.etcdctl("get", "/weft/meta/layout", "--print-value-only")
        root = (tmp_path / "ca.pem").read_bytes()
        mesh.process.kill()
    (tmp_path / "endpoints.json").unlink()  # which stays after kill -9
    with running(("dev",), state=tmp_path, ready=False) as mesh:
        assert mesh.etcdctl("get", "/weft/meta/layout", "--print-value-only") == before
        assert (tmp_path / "ca.pem").read_bytes() == root


def test_a_missing_etcd_is_said_before_anything_starts(tmp_path: Path) -> None:
    done = subprocess.run(
        [WEFT, "dev", "--state", tmp_path / "state", "--ports", "auto"],
        env={**os.environ, "WEFT_ETCD": "/nowhere/etcd"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 3
    assert "no_etcd" in done.stderr
    assert "/nowhere/etcd" in done.stderr


def test_a_state_directory_whose_sockets_would_be_too_long_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    state = tmp_path / ("x" * 100)
    done = subprocess.run(
        [WEFT, "dev", "--state", state, "--ports", "auto"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "bytes too long" in done.stderr
    assert not state.exists()


def test_a_part_that_never_lives_is_named_with_its_log(tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = subprocess.run(
        [WEFT, "dev", "--state", state, "--ports", "auto"],
        env={**os.environ, "WEFT_ENGINE": "/bin/false"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert re.search(r"(engine|gateway) does not answer at http://\S+: it died 6 times", done.stderr)
    assert str(state / "log") in done.stderr
