"""Services that are bytes, through a whole mesh: a small server always, PostgreSQL and Redis where they are installed."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proxy.ports import PortClaims
from tests.gateway.files import issue
from tests.mesh import passing
from tests.mesh.mesh import WEFT, Mesh, eventually, request, running
from tests.support import bytes_server, tls_server
from tests.support.programs import needed, own, unprivileged

ACCESS = """\
apiVersion: weft/v1
kind: Access
spec:
  service: {service}
  rules:
  - {{allow: {{from: [{caller}]}}}}
"""


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """A mesh without samples."""
    with running(("dev",), ready=False) as mesh:
        yield mesh


@pytest.fixture
def claims() -> Iterator[PortClaims]:
    """Ports for programs to listen on."""
    with PortClaims() as claims:
        yield claims


@contextlib.contextmanager
def served(mesh: Mesh, service: str, port: int, command: list[str], *, user: str | None = None) -> Iterator[None]:
    """A program in the mesh as a tcp service, up."""
    run = [str(WEFT), "run", "--service", service, "--protocol", "tcp", "--port", str(port), "--"]
    drop = [] if user is None else ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups"]
    process = subprocess.Popen([*run, *drop, *command], env=mesh.environment)
    agent = mesh.endpoints["agent"]
    try:
        eventually(
            f"{service} is up",
            lambda: request(f"{agent}/v1/services/{service}").json["state"] == "up",
            within=30,
        )
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def upstream(mesh: Mesh, service: str, port: int, *, caller: str) -> tuple[str, int]:
    """Where `caller` finds `service`, as its registration tells."""
    body = {"port": port, "check": {"ttl": "1h"}, "upstreams": [{"service": service}]}
    answer = request(
        f"{mesh.endpoints['agent']}/v1/services/{caller}/instances/{caller}-1",
        method="PUT",
        body=json.dumps(body).encode(),
        fields={"content-type": "application/json"},
    )
    assert answer.status in (200, 201), answer.body
    url = urlsplit(answer.json["upstreams"][service]["url"])
    assert url.scheme == "tcp"
    assert url.hostname is not None
    assert url.port is not None
    return url.hostname, url.port


@contextlib.contextmanager
def greeted(address: tuple[str, int]) -> Iterator[socket.socket]:
    """A connection whose server has spoken."""

    def greet() -> socket.socket | None:
        connection = socket.create_connection(address, timeout=10)
        try:
            if connection.recv(64) == b"220 ready\n":
                return connection
        except OSError:
            pass
        connection.close()
        return None

    # A caller new to its host waits for its certificate.
    connection = eventually("the server speaks", greet, within=20)
    with connection:
        yield connection


def refused(address: tuple[str, int]) -> None:
    """A connection there is broken off without a byte."""
    connection = eventually("the port is open", lambda: socket.create_connection(address, timeout=10))
    with connection, pytest.raises(ConnectionResetError):
        connection.recv(1)


def everything(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def command(port: int) -> list[str]:
    return [sys.executable, str(Path(bytes_server.__file__)), str(port)]


def test_a_server_that_speaks_first_is_heard_and_each_direction_ends_alone(mesh: Mesh, claims: PortClaims) -> None:
    port = claims.claim()
    with served(mesh, "greeter", port, command(port)):
        address = upstream(mesh, "greeter", claims.claim(), caller="job")
        with greeted(address) as connection:
            connection.sendall(b"one\ntwo\n")
            connection.shutdown(socket.SHUT_WR)
            assert everything(connection) == b"one\ntwo\ncounted 8\n"
        listed = mesh.weft("get", "services", "-o", "wide").stdout
        assert "tcp" in next(line for line in listed.splitlines() if "greeter" in line)
        assert mesh.get("/", host="greeter.localhost").reason == "no_route"


def test_access_holds_for_connections_and_ends_open_ones_within_a_second(mesh: Mesh, claims: PortClaims) -> None:
    port = claims.claim()
    with served(mesh, "guarded", port, command(port)):
        address = upstream(mesh, "guarded", claims.claim(), caller="reader")
        with greeted(address) as connection:
            revision = mesh.put("access", "guarded", ACCESS.format(service="guarded", caller="writer"))
            began = time.monotonic()
            connection.settimeout(5)
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
            assert time.monotonic() - began < 1.0
            mesh.wait(revision)
            refused(address)
        mesh.wait(mesh.put("access", "guarded", ACCESS.format(service="guarded", caller="reader")))
        with greeted(address):
            pass
        mesh.wait(mesh.remove("access", "guarded"))


def test_a_rule_that_looks_at_requests_of_a_tcp_service_says_that_it_matches_nobody(
    mesh: Mesh, claims: PortClaims
) -> None:
    port = claims.claim()
    with served(mesh, "plain", port, command(port)):
        rule = "apiVersion: weft/v1\nkind: Access\nspec: {service: plain, rules: [{allow: {methods: [GET]}}]}\n"
        mesh.wait(mesh.put("access", "plain", rule))
        eventually(
            "the controller knows the service, and says so",
            lambda: [note["code"] for note in mesh.status_of("access", "plain")["notes"]] == ["WEFT0309"],
        )
        address = upstream(mesh, "plain", claims.claim(), caller="anyone")
        refused(address)
        mesh.wait(mesh.remove("access", "plain"))


def test_tls_reaches_a_service_by_its_server_name_and_the_service_learns_whose_it_is(
    mesh: Mesh, claims: PortClaims, tmp_path: Path
) -> None:
    files = issue(tmp_path, "db")
    at, plain, told = claims.claim(), claims.claim(), claims.claim()
    command = [sys.executable, str(Path(tls_server.__file__)), str(at), files.cert_file, files.key_file]
    with served(mesh, "db", at, command):
        http = mesh.gateway.rpartition(":")[2]
        mesh.put("gateway", "edge", passing.GATEWAY.format(http=http, plain=plain, told=told), namespace="mesh")
        mesh.wait(mesh.put("route", "db", passing.ROUTE))
        assert eventually("the name leads to the application", lambda: passing.asked(plain, files), within=20) == b"\n"
        with pytest.raises(ssl.SSLError) as unknown:
            passing.asked(plain, files, name="other.example.com")
        assert unknown.value.reason == "TLSV1_UNRECOGNIZED_NAME"

        mesh.wait(mesh.put("access", "db", passing.ACCESS.format(caller="web")))
        with pytest.raises(ssl.SSLError) as denied:
            passing.asked(plain, files)
        assert denied.value.reason == "TLSV1_ALERT_ACCESS_DENIED"
        mesh.wait(mesh.put("access", "db", passing.ACCESS.format(caller="gateway:edge")))

        mesh.wait(mesh.put("traffic", "db", passing.TRAFFIC))
        line = b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443"
        assert passing.asked(told, files, before=line + b"\r\n") == line + b"\n"
        assert passing.asked(plain, files).startswith(b"PROXY TCP4 127.0.0.1 127.0.0.1 ")
        with pytest.raises(OSError):
            passing.asked(told, files)
        # The database of another test has this name too.
        mesh.remove("access", "db")
        mesh.remove("route", "db")
        mesh.wait(mesh.remove("traffic", "db"))


def test_redis_answers_through_the_mesh_and_pushes_to_subscribers(mesh: Mesh, claims: PortClaims) -> None:
    server = needed("redis-server", package="redis-server")
    cli = needed("redis-cli", package="redis-tools")
    port = claims.claim()
    with served(mesh, "cache", port, [server, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]):
        host, at = upstream(mesh, "cache", claims.claim(), caller="shop")
        through = [cli, "-h", host, "-p", str(at)]

        def ask(*words: str) -> str:
            done = subprocess.run([*through, *words], capture_output=True, text=True, timeout=20, check=False)
            return done.stdout.strip()

        eventually("it answers", lambda: ask("PING") == "PONG", within=20)
        assert ask("SET", "colour", "blue") == "OK"
        assert ask("GET", "colour") == "blue"
        big = "x" * 5_000_000
        stored = subprocess.run([*through, "-x", "SET", "big"], input=big, capture_output=True, text=True, check=False)
        assert (stored.stdout.strip(), ask("STRLEN", "big")) == ("OK", str(len(big)))
        subscriber = subprocess.Popen([*through, "SUBSCRIBE", "news"], stdout=subprocess.PIPE, text=True)
        assert subscriber.stdout is not None
        try:
            assert [subscriber.stdout.readline().strip() for _ in range(3)] == ["subscribe", "news", "1"]
            assert ask("PUBLISH", "news", "hello") == "1"
            assert [subscriber.stdout.readline().strip() for _ in range(3)] == ["message", "news", "hello"]
        finally:
            subscriber.kill()
            subscriber.communicate()


def test_postgres_answers_through_the_mesh_and_bulk_copies_go_both_ways(mesh: Mesh, claims: PortClaims) -> None:
    binaries = "usr/lib/postgresql/*/bin"
    initdb = needed("initdb", package="postgresql", also=binaries)
    postgres = needed("postgres", package="postgresql", also=binaries)
    psql = needed("psql", package="postgresql-client")
    user, port = unprivileged(), claims.claim()
    with tempfile.TemporaryDirectory(prefix="weft-postgres-") as directory:
        own(Path(directory), user)
        data = f"{directory}/data"
        made = [initdb, "--auth=trust", "--username=weft", "--no-sync", "-D", data]
        subprocess.run(made, user=user, cwd=directory, check=True, capture_output=True)
        options = ["-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", directory, "-F"]
        with served(mesh, "db", port, [postgres, *options], user=user):
            host, at = upstream(mesh, "db", claims.claim(), caller="ledger")

            def ask(statement: str, *, stdin: str = "") -> str:
                line = [psql, "-h", host, "-p", str(at), "-U", "weft", "-d", "postgres", "-X", "-q", "-At"]
                done = subprocess.run(
                    [*line, "-c", statement], input=stdin, capture_output=True, text=True, timeout=60, check=False
                )
                return done.stdout + done.stderr

            eventually("it answers", lambda: ask("select 6 * 7") == "42\n", within=30)
            rows = "".join(f"{n}\t{'y' * 100}\n" for n in range(50_000))
            assert ask("create table t (n int, v text)") == ""
            assert ask("copy t from stdin", stdin=rows) == ""
            assert ask("copy t to stdout") == rows
            assert "statement timeout" in ask("set statement_timeout = 100; select pg_sleep(5)")
