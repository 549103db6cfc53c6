"""TLS that a gateway passes on by server name: whose it is is decided by its first message alone, and nothing else is read."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import ssl
import subprocess
import time
from contextlib import ExitStack, suppress

import pytest

from policy.compiled import Capacity, Forward, Respond, Route, Target, Traffic
from proxy import sections
from tests.engine import hellos
from tests.engine.edge import NAME, Edge, to_secret
from tests.engine.hellos import Case

ENDED = "weft_tcp_connections_total"
REFUSED = (ENDED, 'direction="gateway"', 'end="refused"')
SOAK = os.environ.get("WEFT_SOAK") == "1"
CASES = list(hellos.spoiled())


def everything(connection: socket.socket) -> bytes:
    """To the end; raises `ConnectionResetError` where there is none."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def answer(connection: socket.socket) -> bytes:
    """Everything that is answered; a reset is an end too."""
    try:
        return everything(connection)
    except ConnectionResetError:
        return b""


def alert(code: int) -> bytes:
    return bytes((21, 3, 3, 0, 2, 2, code))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_client_believes_the_applications_own_certificate(edge: Edge, version: ssl.TLSVersion) -> None:
    context = edge.secret.client()
    context.minimum_version = context.maximum_version = version
    with (
        edge.counts(1, ENDED, 'direction="gateway"', 'destination="default/guarded"', 'end="done"'),
        edge.counts(1, ENDED, 'direction="inbound"', 'source="gateway:edge"', 'end="done"'),
        edge.connect() as connection,
        context.wrap_socket(connection, server_hostname=NAME) as secure,
    ):
        assert secure.version() == version.name.replace("_", ".")
        for word in (b"one", b"two" * 100_000):
            secure.sendall(word)
            back = b""
            while len(back) < len(word):
                back += secure.recv(65536)
            assert back == word.upper()
    assert edge.secret.names == [NAME]


def test_openssl_is_led_there_and_checks_the_certificate(edge: Edge) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl on this machine: install it with `apt-get install openssl`")
    command = [openssl, "s_client", "-connect", f"127.0.0.1:{edge.ports['passed']}", "-servername", NAME]
    command += ["-CAfile", edge.secret.certificate, "-verify_return_error", "-verify_hostname", NAME, "-quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"hello\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"HELLO\n"
        client.kill()


def test_names_have_the_precedence_of_hosts(edge: Edge) -> None:
    rules = ((NAME,), ("*.sub.example.com",), ("*.example.com",), ())
    nobody = Forward(to=(Target("default/nobody"),))
    for asked, winning in {
        NAME: (NAME,),
        "a.sub.example.com": ("*.sub.example.com",),
        "a.b.sub.example.com": ("*.sub.example.com",),
        "sub.example.com": ("*.example.com",),
        "other.test": (),
    }.items():
        # Only the rule that must win leads anywhere, and it is the youngest: age decides only between equals.
        lost = tuple(Route(f"lost/{n}", n, nobody, hosts=hosts) for n, hosts in enumerate(rules) if hosts != winning)
        edge.routes = (*lost, to_secret("won/1", 9, *winning))
        edge.serve()
        with edge.connect("any") as connection:
            connection.sendall(hellos.hello(asked.upper()))
            assert connection.recv(1) == b"\x16", asked
    assert edge.secret.names[0] == NAME.upper()


def test_a_name_nobody_serves_is_answered_with_the_alert_for_it(edge: Edge) -> None:
    for port, name in (("any", "other.example.com"), ("passed", "db.example.org"), ("passed", "example.com")):
        with (
            edge.counts(1, *REFUSED, 'reason="no_route"', 'destination=""'),
            pytest.raises(ssl.SSLError) as error,
        ):
            edge.said(edge.connect(port), name)
        assert error.value.reason == "TLSV1_UNRECOGNIZED_NAME"
    assert edge.secret.names == []


def test_a_hello_without_a_name_goes_where_every_name_goes(edge: Edge) -> None:
    with edge.counts(1, *REFUSED, 'reason="no_route"'), pytest.raises(ssl.SSLError):
        edge.said(edge.connect("any"), None)
    edge.routes = (to_secret("all/1", 0),)
    edge.serve()
    assert edge.said(edge.connect("any"), None) == b"WORD"
    # The port's own hosts are asked for by name.
    with edge.counts(1, *REFUSED, 'reason="no_route"'), pytest.raises(ssl.SSLError):
        edge.said(edge.connect("passed"), None)


def test_a_hello_that_comes_byte_by_byte_or_in_many_records_is_passed_on_as_it_came(edge: Edge) -> None:
    whole = hellos.hello()
    cut = hellos.records(whole[5:], 50)
    assert cut != whole
    for sent, step in ((whole, 1), (whole, 100), (cut, 1), (cut, len(cut))):
        with edge.connect() as connection:
            for at in range(0, len(sent), step):
                connection.sendall(sent[at : at + step])
            # The application answers with its own hello, to exactly this one.
            assert connection.recv(3) == b"\x16\x03\x03"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_no_good_hello_leads_nowhere(edge: Edge, case: Case) -> None:
    for step in (len(case.data), 7):
        with edge.counts(1, *REFUSED, f'reason="{case.reason}"'), edge.connect("any") as connection:
            try:
                for at in range(0, len(case.data), step):
                    connection.sendall(case.data[at : at + step])
            except OSError:
                pass  # refused before its last byte
            assert answer(connection) in ({alert(case.alert)} if case.alert else {b""})
    assert edge.secret.names == []


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 70


def test_who_sends_half_a_hello_is_cut_off_after_five_seconds_and_keeps_nobody_waiting(edge: Edge) -> None:
    half = hellos.hello()[:100]
    before = edge.mesh.engine.resident
    with ExitStack() as stack, edge.counts(300, *REFUSED, 'reason="request_timeout"'):
        began = time.monotonic()
        slow = [stack.enter_context(edge.connect("any")) for _ in range(300)]
        for connection in slow:
            connection.sendall(half)
        assert edge.said(edge.connect()) == b"WORD"
        assert edge.mesh.engine.resident - before < 32 * 1024 * 1024
        # What still trickles in does not help.
        slow[0].sendall(b"\0")
        assert answer(slow[0]) == b""
        assert 4.5 < time.monotonic() - began < 8
        for connection in slow[1:]:
            assert answer(connection) == b""
    with edge.counts(1, ENDED, 'direction="gateway"', 'end="broken"'), edge.connect():
        pass


@pytest.mark.skipif(not SOAK, reason="thousands of connections: WEFT_SOAK=1")
def test_more_who_wait_than_there_is_room_for_are_refused_at_once_and_the_rest_goes_on(edge: Edge) -> None:
    half = hellos.hello()[:100]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    resource.prlimit(edge.mesh.engine.pid, resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    before = edge.mesh.engine.resident
    with ExitStack() as stack:
        with edge.counts(152, *REFUSED, 'reason="overloaded"'):
            for _ in range(2200):
                connection = stack.enter_context(edge.connect("any"))
                with suppress(ConnectionError):  # refused already
                    connection.sendall(half)
        assert edge.mesh.engine.resident - before < 64 * 1024 * 1024
    assert edge.said(edge.connect()) == b"WORD"
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_access_decides_on_the_gateway_and_ends_what_is_open(edge: Edge) -> None:
    edge.only("gateway:edge")
    with edge.connect() as connection:
        connection.sendall(hellos.hello())
        assert connection.recv(1) == b"\x16"
        began = time.monotonic()
        edge.only("default/web")
        with pytest.raises(ConnectionResetError):
            everything(connection)
        assert time.monotonic() - began < 1
    with (
        edge.counts(1, *REFUSED, 'reason="denied"', 'destination="default/guarded"'),
        edge.counts(1, ENDED, 'direction="inbound"', 'source="gateway:edge"', 'reason="denied"'),
        pytest.raises(ssl.SSLError) as error,
    ):
        edge.said(edge.connect())
    assert error.value.reason == "TLSV1_ALERT_ACCESS_DENIED"


def test_what_cannot_be_reached_is_said_by_an_alert(edge: Edge) -> None:
    edge.traffic = Traffic(capacity=Capacity(connections=1))
    edge.serve()
    with (
        edge.connect() as connection,
        edge.secret.client().wrap_socket(connection, server_hostname=NAME),
        edge.counts(1, *REFUSED, 'reason="overloaded"'),
        pytest.raises(ssl.SSLError) as error,
    ):
        edge.said(edge.connect())
    assert error.value.reason == "TLSV1_ALERT_INTERNAL_ERROR"
    edge.traffic = Traffic()
    edge.serve()
    edge.withdraw()
    with edge.counts(1, *REFUSED, 'reason="no_endpoint"'), pytest.raises(ssl.SSLError):
        edge.said(edge.connect())


def test_a_rule_for_requests_is_refused_where_connections_are_passed_on(edge: Edge) -> None:
    snapshot = edge.mesh.snapshot()
    snapshot[sections.gateway("edge")] = sections.Gateway(
        listeners={"web": sections.GatewayListener("http"), "any": sections.GatewayListener("tls")},
        passthrough=(Route("doc/1", 0, Respond(code=200)),),
    )
    served = edge.mesh.hosts[0].writer.apply(snapshot)
    assert sections.gateway("edge") in [refusal.section for refusal in served.refused]
