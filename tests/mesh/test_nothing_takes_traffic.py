"""Kill any part: requests still flow (short forms; `make soak` runs the long ones)."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.mesh.conftest import SOAK
from tests.mesh.load import Load
from tests.mesh.mesh import Mesh, eventually, request, running

RATE = 200.0


@pytest.fixture(scope="module")
def hurt() -> Iterator[Mesh]:
    """A mesh of this module's own, since its processes die here."""
    with running() as mesh:
        yield mesh


@pytest.fixture
def mesh(hurt: Mesh) -> Mesh:
    hurt.ready()
    return hurt


def load(mesh: Mesh) -> Load:
    return Load(mesh.gateway + "/", rate=RATE)


def connects_failed(mesh: Mesh) -> float:
    """How many requests the engine of api's host could not hand to its application."""
    text = request(mesh.endpoints["engine"]["metrics"]).body.decode()
    wanted = ('direction="inbound"', 'destination="default/api"', 'reason="connect_failed"')
    lines = [line for line in text.splitlines() if line.startswith("weft_requests_total")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(part in line for part in wanted))


@pytest.mark.parametrize("process", ["agent", "controller", "gateway_agent"])
def test_killing_a_deciding_process_costs_no_request(mesh: Mesh, process: str) -> None:
    with load(mesh) as steady:
        time.sleep(1)
        mesh.kill(process)
        time.sleep(3)
    steady.check(at_least=300)
    # And it does its work again: a change reaches traffic.
    revision = mesh.put("traffic", "api", "apiVersion: weft/v1\nkind: Traffic\nspec: {service: api, timeout: 9s}\n")
    mesh.wait(revision)
    mesh.wait(mesh.remove("traffic", "api"))


def test_etcd_dead_costs_no_request_and_no_registration(mesh: Mesh) -> None:
    late = f"{mesh.endpoints['agent']}/v1/services/late/instances/late-1"
    body = json.dumps({"port": urlsplit(mesh.gateway).port}).encode()
    with load(mesh) as steady:
        mesh.hold("etcd")
        before = mesh.signal("etcd", signal.SIGKILL)
        held = time.monotonic()
        answer = request(late, method="PUT", body=body)
        assert (answer.status, answer.json["stored"]) == (201, "disk"), answer
        mesh.kill("agent")
        eventually("the agent's next life knows it", lambda: request(late).status == 200)
        time.sleep(max(0.0, (60 if SOAK else 10) - (time.monotonic() - held)))
        mesh.release("etcd")
        mesh.restarted("etcd", before)
        key = f"{mesh.endpoints['root']}registry/default/late/late-1"
        eventually("etcd hears of it", lambda: mesh.etcdctl("get", key, "--print-value-only").strip() != "")
        time.sleep(3)
    steady.check(at_least=1000)
    assert request(late, method="DELETE").status == 200
    revision = mesh.put("traffic", "api", "apiVersion: weft/v1\nkind: Traffic\nspec: {service: api, timeout: 9s}\n")
    mesh.wait(revision)
    mesh.wait(mesh.remove("traffic", "api"))


def test_etcd_frozen_longer_than_the_lease_costs_no_request(mesh: Mesh) -> None:
    with load(mesh) as steady:
        pid = mesh.signal("etcd", signal.SIGSTOP)
        time.sleep(40 if SOAK else 18)
        os.kill(pid, signal.SIGCONT)
        time.sleep(4)
    steady.check(at_least=1000)
    revision = mesh.put("traffic", "api", "apiVersion: weft/v1\nkind: Traffic\nspec: {service: api, timeout: 9s}\n")
    mesh.wait(revision)
    mesh.wait(mesh.remove("traffic", "api"))


def test_a_killed_instance_costs_no_request(mesh: Mesh) -> None:
    eject = "apiVersion: weft/v1\nkind: Traffic\nspec: {service: api, outlier: {eject: 2s}}\n"
    mesh.wait(mesh.put("traffic", "api", eject))
    refused = connects_failed(mesh)
    with load(mesh) as steady:
        time.sleep(1)
        mesh.hold("api-2")
        before = mesh.signal("api-2", signal.SIGKILL)
        eventually(
            "its engine says connect_failed, and the caller's tries another", lambda: connects_failed(mesh) > refused
        )
        time.sleep(3)
        mesh.release("api-2")
        mesh.restarted("api-2", before)
        time.sleep(2)
    steady.check(at_least=300)
    eventually(
        "api-2 answers again",
        lambda: "api-2" in {mesh.get("/").json["api"]["instance"] for _ in range(30)},
        within=20,
    )
    mesh.wait(mesh.remove("traffic", "api"))


def test_a_hundred_changes_in_a_row_cost_no_request(mesh: Mesh) -> None:
    document = "apiVersion: weft/v1\nkind: Traffic\nspec: {{service: api, timeout: {}s}}\n"
    with load(mesh) as steady:
        revision = 0
        for number in range(100):
            revision = mesh.put("traffic", "api", document.format(5 + number % 7))
        mesh.wait(revision)
    steady.check(at_least=100)
    mesh.wait(mesh.remove("traffic", "api"))


def test_an_engine_killed_while_agent_and_etcd_are_dead_serves_from_disk_within_a_second(mesh: Mesh) -> None:
    for process in ("agent", "etcd"):
        mesh.hold(process)
    agent, etcd = mesh.signal("agent", signal.SIGKILL), mesh.signal("etcd", signal.SIGKILL)
    try:
        with load(mesh) as steady:
            time.sleep(1)
            assert not steady.failures, steady.failures[:3]
            killed = time.monotonic()
            mesh.signal("engine", signal.SIGKILL)
            time.sleep(3)
        late = steady.since(killed + 1.0)
        assert not late, f"{len(late)} failed a second after the kill: {late[:3]}"
        assert steady.answered >= 300
    finally:
        for process in ("agent", "etcd"):
            mesh.release(process)
    mesh.restarted("etcd", etcd)
    mesh.restarted("agent", agent)
    revision = mesh.put("traffic", "api", "apiVersion: weft/v1\nkind: Traffic\nspec: {service: api, timeout: 9s}\n")
    mesh.wait(revision)
    mesh.wait(mesh.remove("traffic", "api"))


def test_wait_names_a_host_that_is_behind(mesh: Mesh) -> None:
    pid = mesh.signal("agent", signal.SIGSTOP)
    try:
        revision = mesh.put("traffic", "api", "apiVersion: weft/v1\nkind: Traffic\nspec: {service: api, timeout: 8s}\n")
        late = mesh.weft("wait", "--revision", str(revision), "--timeout", "2s")
        assert late.returncode == 6, late.stdout + late.stderr
        assert "dev" in late.stdout + late.stderr
    finally:
        os.kill(pid, signal.SIGCONT)
    mesh.wait(revision)
    mesh.wait(mesh.remove("traffic", "api"))
