"""What runs is changed under load, programs and roots alike, and nobody notices."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proxy.ports import PortClaims
from tests.mesh.conftest import SOAK
from tests.mesh.load import Load
from tests.mesh.mesh import Mesh, eventually, running
from tests.mesh.test_tcp import command, greeted, served, upstream

REPLACEMENTS = 5 if SOAK else 1


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """A mesh of its own: its roots do not stay what they were."""
    with running() as found:
        yield found


def test_engines_are_replaced_by_a_command_without_a_failed_request(mesh: Mesh) -> None:
    with Load(mesh.gateway + "/", rate=200) as steady:
        for _ in range(REPLACEMENTS):
            for name, more in (("engine", ()), ("gateway", ("--gateway",))):
                before = mesh.pid(name)
                done = mesh.weft("engine", "replace", *more)
                assert done.returncode == 0, done.stderr
                assert f"(process {before})" in done.stdout
                assert mesh.restarted(name, before) != before
                steady.more(100)
        status = mesh.weft("status")
        assert status.returncode == 0, "nothing is restarted, refused or behind: " + status.stdout
    steady.check(at_least=200)


def test_a_root_replaces_another_under_load_though_the_controller_dies_meanwhile(mesh: Mesh, tmp_path: Path) -> None:
    new = tmp_path / "new"
    slot = mesh.state / "controller" / "ca" / "second"
    assert mesh.weft("ca", "init", str(new), "--trust-domain", "dev.weft").returncode == 0
    with Load(mesh.gateway + "/", rate=200) as steady:
        begun = mesh.weft("ca", "rotate", str(new))
        assert begun.returncode == 0, begun.stderr
        assert listed(mesh) == ["active", "next"]
        mesh.kill("controller")
        assert listed(mesh) == ["active", "next"], "nothing is signed with it before somebody can"
        given = mesh.weft("ca", "intermediate", str(slot), "--root", str(new), "--name", "dev")
        assert given.returncode == 0, given.stderr
        eventually("it is signed with", lambda: listed(mesh) == ["active", "old"], within=20)
        mesh.kill("controller")
        done = mesh.weft("ca", "rotate", str(new), "--wait", "40s")
        assert done.returncode == 0, done.stderr
        assert listed(mesh) == ["active"]
        steady.more(200)
        status = mesh.weft("ca", "status", "-o", "json")
        assert [root["state"] for root in json.loads(status.stdout)] == ["active"]
    steady.check(at_least=500)


def test_a_tunnel_outlives_its_engine_and_ends_within_a_second_of_its_certificate_revoked(mesh: Mesh) -> None:
    identity = "spiffe://dev.weft/ns/default/dc/local/svc/teller"
    with PortClaims() as claims:
        port = claims.claim()
        with (
            served(mesh, "till", port, command(port)),
            greeted(upstream(mesh, "till", claims.claim(), caller="teller")) as tunnel,
        ):
            assert mesh.weft("engine", "replace").returncode == 0
            tunnel.sendall(b"still here\n")
            assert tunnel.recv(64) == b"still here\n"
            # What is served is told with the next ack.
            before = eventually("its certificate is told", lambda: certificate(mesh, identity) or None, within=10)
            mesh.etcdctl("put", f"/weft/pki/revoked/{before}", "{}")
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                assert tunnel.recv(64) == b""
            assert time.monotonic() - began < 1.0
    eventually("another certificate is served", lambda: certificate(mesh, identity) not in (before, ""), within=10)


def test_what_is_revoked_by_a_command_is_asked_for_anew(mesh: Mesh) -> None:
    identity = "spiffe://dev.weft/ns/default/dc/local/svc/web"
    before = certificate(mesh, identity)
    done = mesh.weft("ca", "revoke", identity)
    assert done.returncode == 0, done.stderr
    assert before in done.stdout
    eventually("another certificate is served", lambda: certificate(mesh, identity) not in (before, ""), within=10)
    eventually("web may call again", lambda: mesh.get("/").status == 200)


def test_a_host_that_is_forgotten_gets_nothing_signed(mesh: Mesh) -> None:
    assert mesh.weft("host", "forget", "nobody").returncode == 7
    done = mesh.weft("host", "forget", "dev-gw-edge")
    assert done.returncode == 0, done.stderr
    assert "dev-gw-edge" not in mesh.etcdctl("get", "/weft/roster/", "--prefix", "--keys-only")
    parts = urlsplit(mesh.gateway)

    def refused() -> bool:
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return not connection.makefile("rb").readline().startswith(b"HTTP/1.1 200")

    eventually("the gateway is believed no more", refused, within=5)


def listed(mesh: Mesh) -> list[str]:
    """The state of every root there is."""
    bundle = json.loads(mesh.etcdctl("get", "/weft/pki/trust", "--print-value-only"))
    return sorted(root["state"] for root in bundle["trust_domain"]["dev.weft"])


def certificate(mesh: Mesh, identity: str) -> str:
    """The serial that is served for an identity; empty while it is just being replaced."""
    acks = [
        json.loads(line)
        for line in mesh.etcdctl("get", "/weft/ack/", "--prefix", "--print-value-only").split("\n")
        if line
    ]
    serials: list[str] = [ack["certificates"][identity][0] for ack in acks if identity in ack["certificates"]]
    return serials[0] if serials else ""
