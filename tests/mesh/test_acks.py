"""What an engine refuses is named by whoever waits, and holds back nothing else."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.mesh.mesh import Mesh, eventually, request

TEAPOT = """\
apiVersion: weft/v1
kind: Route
spec:
  gateway: edge
  hosts: [teapot.example.com]
  rules:
  - {name: teapot, respond: {code: 418, body: short}}
"""


@pytest.fixture
def occupied() -> Iterator[socket.socket]:
    """A port on loopback that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def gateway(documents: Mesh) -> Iterator[str]:
    """The gateway's document, which is afterwards as it was before."""
    key = f"{documents.endpoints['root']}policy/mesh/gateway/edge"
    before = documents.etcdctl("get", key, "--print-value-only").removesuffix("\n")
    yield before
    documents.wait(documents.put("gateway", "edge", before, namespace="mesh"))


def test_a_refused_section_is_named_by_wait_and_holds_back_nothing_else(
    documents: Mesh, gateway: str, occupied: socket.socket
) -> None:
    mesh = documents
    port = occupied.getsockname()[1]
    more = f"{gateway.rstrip()}\n  - {{name: taken, port: {port}, protocol: http}}\n"
    revision = mesh.put("gateway", "edge", more, namespace="mesh")
    refused = mesh.weft("wait", "--revision", str(revision), "--timeout", "20s")
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1, said
    assert "dev-gw-edge" in said
    assert "taken" in said
    ack = json.loads(mesh.etcdctl("get", f"{mesh.endpoints['root']}ack/dev-gw-edge", "--print-value-only"))
    assert ack["policy"] >= revision, "the rest of that revision is served"

    later = mesh.put("route", "teapot", TEAPOT)
    eventually("a later change reaches traffic", lambda: mesh.get("/", host="teapot.example.com").status == 418)
    assert mesh.get("/").status == 200, "the listeners that were there serve on"
    assert mesh.weft("wait", "--revision", str(later), "--timeout", "20s").returncode == 1
    assert mesh.weft("status").returncode == 1

    occupied.close()
    eventually(
        "the port is taken once it is free",
        lambda: mesh.weft("wait", "--revision", str(later), "--timeout", "20s").returncode == 0,
        within=20,
    )
    assert request(f"http://127.0.0.1:{port}/").status == 200
