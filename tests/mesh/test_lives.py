"""Meshes begin, end, and stand beside each other: nothing is shared, nothing is left behind, nothing is lost."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.mesh.conftest import SOAK
from tests.mesh.load import Load
from tests.mesh.mesh import Mesh, eventually, running

FIRST_ANSWER = 5.0
PINNED = """\
apiVersion: weft/v1
kind: Route
spec:
  service: api
  rules:
  - {name: only-v2, to: [{service: api, labels: {version: v2}}]}
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory that several lives of a mesh share."""
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


@pytest.mark.skipif(not SOAK, reason="a promise for a machine that has nothing else to do: WEFT_SOAK=1")
def test_the_first_answer_comes_within_five_seconds(tmp_path: Path) -> None:
    took: list[float] = []
    for attempt in range(3):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        with running(state=directory):
            said = re.search(r"is up after ([\d.]+) s", (directory / "output.txt").read_text())
            assert said is not None
            took.append(float(said[1]))
        if took[-1] < FIRST_ANSWER:
            return
    pytest.fail(f"an empty directory's mesh answered after {took} s")


def test_two_meshes_stand_side_by_side_and_the_end_of_one_costs_the_other_nothing(mesh: Mesh, state: Path) -> None:
    with running(state=state) as other:
        assert not ports(mesh) & ports(other)
        assert (mesh.state / "ca.pem").read_bytes() != (other.state / "ca.pem").read_bytes()
        other.wait(other.put("route", "pinned", PINNED))
        assert {other.get("/").json["api"]["version"] for _ in range(10)} == {"v2"}
        assert "v1" in {mesh.get("/").json["api"]["version"] for _ in range(30)}
        with Load(mesh.gateway + "/", rate=100) as steady:
            steady.more(50)
            other.process.send_signal(signal.SIGINT)
            assert other.process.wait(10) == 0
            steady.more(50)
    steady.check(at_least=100)


def test_a_mesh_ended_by_kill_leaves_no_process_and_comes_back_with_what_it_had(state: Path) -> None:
    with running(state=state) as first:
        first.wait(first.put("route", "pinned", PINNED))
        pids = first.endpoints["pids"]
        first.process.kill()
        first.process.wait()
        left = {**pids, **pids["services"]}
        del left["services"]
        eventually(
            "every process of it is gone", lambda: not {name for name, pid in left.items() if alive(pid)}, within=5
        )
        assert first.weft("status").returncode == 3
    with running(state=state) as again:
        assert {again.get("/").json["api"]["version"] for _ in range(10)} == {"v2"}
        again.wait(again.remove("route", "pinned"))
        eventually(
            "every instance answers",
            lambda: {again.get("/").json["api"]["instance"] for _ in range(30)} == {"api-1", "api-2", "api-3"},
        )
        assert again.weft("status").returncode == 0


def ports(mesh: Mesh) -> set[int]:
    """Every port that `endpoints.json` names."""
    found = re.findall(r"127\.0\.0\.1:(\d+)", json.dumps(mesh.endpoints))
    return {int(port) for port in found} | {urlsplit(mesh.endpoints["etcd"]).port or 0}


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"
