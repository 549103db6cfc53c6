"""The PROXY protocol, taken from balancers at a gateway's ports and said to applications: with HAProxy where it is installed."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from policy.compiled import Traffic
from proxy.ports import PortClaims
from registry.names import server_name
from tests.engine import announcements, hellos
from tests.engine.announcements import LINE, SIGNATURE, V4, V6, v2
from tests.engine.client import Door, Wire, get
from tests.engine.edge import PUBLIC_NAME, Edge
from tests.engine.mesh import GUARDED, TRUST_DOMAIN, WEB
from tests.support.strict_http import read_responses

REFUSED = "weft_proxy_headers_refused_total"
Version = Literal["v1", "v2"]


def everything(connection: socket.socket) -> bytes:
    """To the end; a reset is one."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            data += chunk
    return data


def seen_from(edge: Edge, *parts: bytes, port: str = "told-web") -> str:
    """Whom the application is told that a request comes from, sent in these parts."""
    edge.mesh.api.requests.clear()
    with edge.connect(port) as connection:
        for part in parts:
            connection.sendall(part)
        connection.shutdown(socket.SHUT_WR)
        assert [one.status for one in read_responses(everything(connection), (b"GET",))] == [200]
    (request,) = edge.mesh.api.requests
    return request.values(b"x-forwarded-for")[0].decode()


@pytest.mark.parametrize(("header", "address"), announcements.GOOD)
def test_what_a_header_says_is_whom_a_request_comes_from(edge: Edge, header: bytes, address: str) -> None:
    request = get()
    assert seen_from(edge, header + request) == address
    assert seen_from(edge, header, request) == address
    assert seen_from(edge, *(bytes((byte,)) for byte in header), request) == address


def test_a_header_may_be_split_anywhere(edge: Edge) -> None:
    for header in (LINE, v2(0x21, 0x11, V4)):
        for at in range(1, len(header)):
            assert seen_from(edge, header[:at], header[at:] + get()) == "203.0.113.9", at


def test_it_holds_for_every_request_of_the_connection_and_for_tls(edge: Edge) -> None:
    with edge.connect("told-tls") as connection:
        connection.sendall(v2(0x21, 0x11, V4))
        with edge.public.wrap_socket(connection, server_hostname=PUBLIC_NAME) as secure:
            for _ in range(3):
                secure.sendall(get())
                assert secure.recv(65536).startswith(b"HTTP/1.1 200")
    found = [(one.values(b"x-forwarded-for")[0], one.values(b"x-forwarded-proto")[0]) for one in edge.mesh.api.requests]
    assert found == [(b"203.0.113.9", b"https")] * 3


@pytest.mark.parametrize(("sent", "reason"), [(get(), "missing"), (hellos.hello(), "missing"), *announcements.BAD])
@pytest.mark.parametrize("port", ["told-web", "told-tls", "told"])
def test_from_those_who_must_send_one_anything_else_is_refused(edge: Edge, port: str, sent: bytes, reason: str) -> None:
    before = len(edge.secret.names)
    with edge.counts(1, REFUSED, f'reason="{reason}"'), edge.connect(port) as connection:
        connection.sendall(sent)
        assert everything(connection) == b""
    assert edge.mesh.api.requests == []
    assert len(edge.secret.names) == before


def test_who_may_not_send_one_is_taken_as_it_is_and_its_header_for_no_header(edge: Edge) -> None:
    edge.told_by = ("10.0.0.0/8", "fd00::/8")
    edge.serve()
    assert seen_from(edge, get()) == "127.0.0.1"
    for header in (LINE, v2(0x21, 0x11, V4), b"PROXY UNKNOWN\r\n"):
        with edge.connect("told-web") as connection:
            connection.sendall(header + get())
            assert [one.status for one in read_responses(everything(connection), (b"GET",))] == [400]
        with edge.counts(1, "weft_tls_failures_total", 'direction="gateway"'), edge.connect("told-tls") as connection:
            connection.sendall(header + hellos.hello())
            everything(connection)
        with edge.counts(1, "weft_tcp_connections_total", 'reason="tls_required"'), edge.connect("told") as connection:
            connection.sendall(header + hellos.hello())
            assert everything(connection) == b""
    assert len(edge.mesh.api.requests) == 1
    assert edge.said(edge.connect("told")) == b"WORD"


def test_whose_forwarding_fields_are_believed_is_asked_of_the_client_and_not_of_the_balancer(edge: Edge) -> None:
    forged = get("/", "x-forwarded-for: 192.0.2.1")
    assert seen_from(edge, LINE + forged) == "203.0.113.9"


def test_who_sends_no_whole_header_is_cut_off_after_five_seconds(edge: Edge) -> None:
    began = time.monotonic()
    with contextlib.ExitStack() as stack, edge.counts(60, REFUSED, 'reason="timeout"'):
        slow = [stack.enter_context(edge.connect(port)) for port in ("told-web", "told-tls", "told") for _ in range(20)]
        for number, connection in enumerate(slow):
            connection.sendall((b"", b"PROXY TCP4 203.0.113.9", SIGNATURE, v2(0x21, 0x11, V4)[:-1])[number % 4])
        assert seen_from(edge, LINE + get()) == "203.0.113.9"
        for connection in slow:
            assert everything(connection) == b""
    assert 4.5 < time.monotonic() - began < 8
    with edge.counts(1, REFUSED, 'reason="closed"'), edge.connect("told-web") as connection:
        connection.sendall(LINE[:10])


def said(version: Version, source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """The header of a connection over IPv4."""
    if version == "v1":
        return f"PROXY TCP4 {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    return v2(0x21, 0x11, addresses + source[1].to_bytes(2) + destination[1].to_bytes(2))


def wanting(edge: Edge, version: Version) -> None:
    """Let the application be told."""
    edge.traffic = Traffic(proxy_protocol=version)
    edge.secret.told = True
    edge.serve()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_an_application_is_told_the_clients_address_through_a_gateway(edge: Edge, version: Version) -> None:
    wanting(edge, version)
    connection = edge.connect("passed")
    ends = connection.getsockname(), connection.getpeername()
    assert edge.said(connection) == b"WORD"
    connection = edge.connect("told")
    connection.sendall(LINE)
    assert edge.said(connection) == b"WORD"
    connection = edge.connect("told")
    connection.sendall(v2(0x20, 0, b""))
    own = connection.getsockname(), connection.getpeername()
    assert edge.said(connection) == b"WORD"
    told = said(version, ("203.0.113.9", 56324), ("198.51.100.1", 443))
    assert edge.secret.headers == [said(version, *ends), told, said(version, *own)]


def test_an_application_is_told_an_address_of_ipv6(edge: Edge) -> None:
    for version, header in (("v1", b"PROXY TCP6 2001:db8::9 2001:db8::1 56324 443\r\n"), ("v2", v2(0x21, 0x21, V6))):
        wanting(edge, "v1" if version == "v1" else "v2")
        connection = edge.connect("told")
        connection.sendall(v2(0x21, 0x21, V6))
        assert edge.said(connection) == b"WORD"
        assert edge.secret.headers.pop() == header


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_of_a_service_that_calls_the_address_of_its_host_is_told(edge: Edge, version: Version) -> None:
    wanting(edge, version)
    port = edge.mesh.outbound(GUARDED).port
    assert edge.said(socket.create_connection(("127.0.0.1", port), timeout=10)) == b"WORD"
    (header,) = edge.secret.headers
    inbound = edge.mesh.hosts[0].inbound
    if version == "v1":
        word, family, source, destination, _, to = header.decode().split()
        assert (word, family, source, destination, to) == ("PROXY", "TCP4", "127.0.0.1", "127.0.0.1", str(inbound))
    else:
        assert header[:16] == SIGNATURE + b"\x21\x11\0\x0c"
        assert header[16:24] == bytes((127, 0, 0, 1)) * 2
        assert header[26:] == inbound.to_bytes(2)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_service_outside_the_mesh_is_told_by_the_engine_that_calls_it(edge: Edge, version: Version) -> None:
    edge.outside = True
    wanting(edge, version)
    connection = edge.connect("told")
    connection.sendall(LINE)
    assert edge.said(connection) == b"WORD"
    connection = socket.create_connection(("127.0.0.1", edge.mesh.outbound(GUARDED).port), timeout=10)
    own = connection.getsockname(), connection.getpeername()
    assert edge.said(connection) == b"WORD"
    told = said(version, ("203.0.113.9", 56324), ("198.51.100.1", 443))
    assert edge.secret.headers == [told, said(version, *own)]


def test_only_a_gateway_speaks_for_others(edge: Edge) -> None:
    wanting(edge, "v2")
    context = edge.mesh.context(WEB)
    context.set_alpn_protocols(["weft-tcp-proxied"])
    door = Door("inbound", edge.mesh.hosts[0].inbound, context, server_name(GUARDED, "guarded-1", TRUST_DOMAIN))
    with edge.counts(1, "weft_tcp_connections_total", 'direction="inbound"', 'reason="denied"'):
        wire = Wire(door)
        wire.send(v2(0x21, 0x11, V4) + hellos.hello())
        # The place of `denied` among the reasons, and one more.
        assert wire.read() == b"\x0a"
        wire.close()
    assert edge.secret.headers == []


CONFIGURATION = """\
global
  maxconn 100
  stats socket {stats}
defaults
  mode tcp
  timeout connect 5s
  timeout client 10s
  timeout server 10s
listen balancer
  bind 127.0.0.1:{port}
  server weft 127.0.0.1:{to} {how}
"""


@contextlib.contextmanager
def haproxy(directory: Path, to: int, how: str) -> Iterator[int]:
    """HAProxy in front of one of the gateway's ports; where it listens."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("there is no haproxy on this machine: install it with `apt-get install haproxy`")
    with PortClaims() as claims:
        port = claims.claim()
        config = directory / "haproxy.cfg"
        config.write_text(CONFIGURATION.format(stats=directory / "stats", port=port, to=to, how=how))
        process = subprocess.Popen([program, "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert time.monotonic() < end, "haproxy does not listen"
                    time.sleep(0.02)
            yield port
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    "how",
    ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id", "send-proxy-v2-ssl-cn"],
)
def test_haproxy_says_whose_connection_it_is(edge: Edge, tmp_path: Path, how: str) -> None:
    wanting(edge, "v1")
    with haproxy(tmp_path, edge.ports["told"], how) as port:
        edge.secret.headers.clear()
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        ends = connection.getsockname(), connection.getpeername()
        assert edge.said(connection) == b"WORD"
        assert edge.secret.headers == [said("v1", *ends)]
    with haproxy(tmp_path, edge.ports["told-web"], how) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10, source_address=("127.0.0.3", 0)) as client:
            client.sendall(get())
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert edge.mesh.api.requests[-1].values(b"x-forwarded-for") == [b"127.0.0.3"]


def test_haproxy_finds_a_gateway_healthy_by_checks_that_are_nobodys_connection(edge: Edge, tmp_path: Path) -> None:
    how = "send-proxy-v2 check check-send-proxy inter 50ms"
    before = edge.metric(REFUSED)
    with haproxy(tmp_path, edge.ports["told-web"], how) as port:
        end = time.monotonic() + 10
        while "L4OK" not in health(tmp_path / "stats"):
            assert time.monotonic() < end, health(tmp_path / "stats")
            time.sleep(0.02)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(get())
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
    assert edge.metric(REFUSED) == before


def health(path: Path) -> str:
    """What HAProxy says of its servers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"show stat\n")
        return everything(connection).decode()
