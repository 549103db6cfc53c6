"""`weft demo`: it proves itself, and what it breaks is found by the command that it names."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mesh.mesh import WEFT, Mesh, eventually, running


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """A demo that is broken and mended here."""
    with running() as mesh:
        yield mesh


def broken(mesh: Mesh, what: str) -> str:
    """Break something; the command that is said to find it."""
    done = mesh.weft("demo", "break", what)
    assert done.returncode == 0, done.stderr
    assert f"weft demo break {what} --restore" in done.stdout
    found = re.search(r"find it:\s+(.*?)(?:\s{4}#|$)", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return found[1]


def shell(mesh: Mesh, command: str) -> subprocess.CompletedProcess[str]:
    """As somebody types it."""
    return subprocess.run(
        command, shell=True, capture_output=True, text=True, env=mesh.environment, timeout=60, check=False
    )


def mended(mesh: Mesh, what: str) -> None:
    assert mesh.weft("demo", "break", what, "--restore").returncode == 0


def test_what_to_try_next_ends_with_ones_own_application(mesh: Mesh) -> None:
    told = (mesh.state / "output.txt").read_text().strip().splitlines()
    assert "weft run --service" in told[-1]
    assert any(re.search(r"200 in \d+\.\d ms: gateway → web .* → api", line) for line in told)


def test_errors_are_seen_and_found_and_mended(mesh: Mesh) -> None:
    find = broken(mesh, "errors")
    try:
        assert mesh.get("/").status == 500
        assert 'destination="default/api"' in shell(mesh, find).stdout
    finally:
        mended(mesh, "errors")
    eventually("all is well again", lambda: mesh.get("/").status == 200)


def test_latency_is_found_on_the_applications_side(mesh: Mesh) -> None:
    find = broken(mesh, "latency")
    try:
        assert mesh.get("/").status == 200
        assert re.search(r'direction="inbound",destination="default/api"', shell(mesh, find).stdout)
    finally:
        mended(mesh, "latency")


def test_an_impostor_gets_no_request_and_its_certificate_is_named(mesh: Mesh) -> None:
    find = broken(mesh, "cert")
    try:

        def tried() -> bool:
            assert mesh.get("/").status == 200
            return "weft_tls_failures_total" in shell(mesh, find).stdout

        eventually("a caller tried the impostor", tried)
        assert "impostor" in mesh.weft("get", "instances").stdout
    finally:
        mended(mesh, "cert")
    eventually("it is gone", lambda: "impostor" not in mesh.weft("get", "instances").stdout)


def test_without_etcd_requests_go_on_and_status_says_so(mesh: Mesh) -> None:
    find = broken(mesh, "etcd")
    try:
        assert mesh.get("/").status == 200
        assert shell(mesh, find).returncode == 3
    finally:
        mended(mesh, "etcd")
    eventually("status is well again", lambda: mesh.weft("status").returncode == 0, within=30)


def test_check_proves_every_call_and_exits_0(tmp_path: Path) -> None:
    done = subprocess.run(
        [WEFT, "demo", "--check", "--state", tmp_path / "state", "--ports", "auto"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^ok {6}", done.stdout, re.MULTILINE)) == 7
    assert "7 of 7 hold" in done.stdout
