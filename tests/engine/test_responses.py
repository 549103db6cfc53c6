"""An application that answers badly: its client gets a clean 502 that says why, or the end of the connection, never its bytes."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.engine.application import Talk, answering
from tests.engine.client import ask, connected, exchange, get
from tests.engine.mesh import Mesh
from tests.support import strict_http

SOAK = os.environ.get("WEFT_SOAK") == "1"
OK = b"HTTP/1.1 200 OK\r\n"
BAD = {
    "nothing like http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "no version": b"200 OK\r\n\r\n",
    "http/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "http/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status of letters": b"HTTP/1.1 2xx OK\r\n\r\n",
    "status 000": b"HTTP/1.1 000 No\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\n\r\n",
    "lf": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "lf in a field": OK + b"x-a: a\ncontent-length: 0\r\n\r\n",
    "cr in a field": OK + b"x-a: a\rb\r\ncontent-length: 0\r\n\r\n",
    "nul in a field": OK + b"x-a: \x00\r\ncontent-length: 0\r\n\r\n",
    "control byte in the reason": b"HTTP/1.1 200 \x01\r\ncontent-length: 0\r\n\r\n",
    "folded": OK + b"x-a: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "space before the colon": OK + b"content-length : 0\r\n\r\n",
    "no colon": OK + b"x-a\r\ncontent-length: 0\r\n\r\n",
    "two unequal lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "a list of unequal lengths": OK + b"content-length: 2, 3\r\n\r\nabc",
    "a length with a sign": OK + b"content-length: +2\r\n\r\nab",
    "a negative length": OK + b"content-length: -2\r\n\r\nab",
    "a hexadecimal length": OK + b"content-length: 0x2\r\n\r\nab",
    "a length of 19 digits": OK + b"content-length: 1111111111111111111\r\n\r\n",
    "length and coding": OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding gzip": OK + b"transfer-encoding: gzip\r\n\r\nab",
    "coding gzip and chunked": OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding twice": OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding on 1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    "a head of 65 KiB": OK + b"x-a: " + b"a" * 66_000 + b"\r\n\r\n",
    "129 fields": OK + b"".join(b"x-%d: a\r\n" % number for number in range(129)) + b"\r\n",
    "informational for ever": b"HTTP/1.1 102 Processing\r\n\r\n" * 40 + OK + b"content-length: 0\r\n\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-",
}
TORN = {
    "chunk size": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\nxyz\r\n",
    "chunk end": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n",
    "chunk with lf": OK + b"transfer-encoding: chunked\r\n\r\n2\nab\n0\n\n",
    "framing in a trailer": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\ncontent-length: 5\r\n\r\n",
    "no last chunk": OK + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    "shorter than its length": OK + b"content-length: 10\r\n\r\nabc",
}


@pytest.mark.parametrize("case", BAD)
def test_a_malformed_response_is_a_clean_502(mesh: Mesh, case: str) -> None:
    mesh.api.script = answering(BAD[case])
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        # A method that is not tried again, so that each is asked once.
        (response,) = ask(door, get(method="POST", body=b"ab"))
        assert (response.status, response.reason) == (502, "reset")


@pytest.mark.parametrize("case", TORN)
def test_a_body_that_breaks_is_refused_or_cut_off_so_that_the_client_can_tell(mesh: Mesh, case: str) -> None:
    mesh.api.script = answering(TORN[case])
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        answered = exchange(door, get())
        whole = strict_http.read_responses(answered, truncated=True)
        # Where it breaks before anything was forwarded, there may still be a proper answer.
        assert [(response.status, response.reason != "") for response in whole] in ([], [(502, True)])
        assert answered.count(b"HTTP/1.1") <= 1


def test_surplus_behind_a_response_never_answers_the_next_request(mesh: Mesh) -> None:
    whole = OK + b"content-length: 2\r\n\r\nok"
    mesh.api.script = answering(whole + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfalse", then_close=False)
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        with connected(door) as wire:
            for _ in range(3):
                wire.send(get())
                assert [response.body for response in wire.until(1)] == [b"ok"]


def test_a_response_until_the_end_of_the_connection_is_framed(mesh: Mesh) -> None:
    mesh.api.script = answering(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        assert [response.body for response in ask(door, get() + get())] == [b"all of it"] * 2


def test_an_answer_of_as_many_fields_as_there_may_be_goes_through_every_engine(mesh: Mesh) -> None:
    fields = b"".join(b"x-%d: a\r\n" % number for number in range(100))
    mesh.api.script = answering(OK + fields + b"\r\nall of it")
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        (response,) = ask(door, get())
        assert (response.status, response.body, response.value(b"x-99")) == (200, b"all of it", b"a")


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_a_body_has_none_whatever_it_says(mesh: Mesh, status: int) -> None:
    mesh.api.script = answering(b"HTTP/1.1 %d No\r\ncontent-length: 5\r\n\r\n" % status, then_close=False)
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        assert [response.status for response in ask(door, get() + get())] == [status, status]


def test_the_answer_to_head_has_a_length_and_no_body(mesh: Mesh) -> None:
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        first, second = ask(door, get(method="HEAD") + get(), b"HEAD", b"GET")
        assert (first.value(b"content-length"), first.body) == (b"2", b"")
        assert second.body == b"ok"


def test_hop_by_hop_fields_of_a_response_go_no_further(mesh: Mesh) -> None:
    fields = b"connection: x-a\r\nx-a: a\r\nkeep-alive: timeout=5\r\nupgrade: h2c\r\n"
    mesh.api.script = answering(OK + fields + b"x-b: b\r\ncontent-length: 2\r\n\r\nok", then_close=False)
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        (response,) = ask(door, get())
        assert response.value(b"x-b") == b"b"
        assert response.value(b"x-a") is None
        assert response.value(b"upgrade") is None


def test_an_application_can_claim_neither_a_reason_nor_a_caller(mesh: Mesh) -> None:
    claims = b"x-weft-reason: denied\r\nx-weft-caller: me\r\ncontent-length: 2\r\n\r\nok"
    for status in (b"200", b"403", b"503"):
        mesh.api.script = answering(b"HTTP/1.1 %s X\r\n" % status + claims)
        for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
            (response,) = ask(door, get())
            assert (response.status, response.reason) == (int(status), "")
            assert response.value(b"x-weft-caller") is None


def test_trailers_of_a_response_arrive(mesh: Mesh) -> None:
    mesh.api.script = answering(OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n")
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        answered = exchange(door, get())
        assert answered.endswith(b"0\r\nx-sum: 7\r\n\r\n")
        assert [response.body for response in strict_http.read_responses(answered)] == [b"ok"]


def test_informational_responses_arrive_in_their_order(mesh: Mesh) -> None:
    mesh.api.script = answering(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK + b"content-length: 2\r\n\r\nok")
    for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
        answered = exchange(door, get())
        assert answered.startswith(b"HTTP/1.1 103 ")
        assert [response.body for response in strict_http.read_responses(answered)] == [b"ok"]


def test_an_answer_without_an_end_ends_with_its_client(mesh: Mesh) -> None:
    def endless(talk: Talk) -> None:
        if talk.request() is not None:
            talk.send(OK + b"transfer-encoding: chunked\r\n\r\n")
            while True:
                talk.send(b"400\r\n" + b"a" * 1024 + b"\r\n")

    mesh.api.script = endless
    with connected(mesh.outbound()) as wire:
        wire.send(get())
        assert wire.read().startswith(OK)
    mesh.api.hang_up()


def test_an_application_has_100_fields_and_64_kib_and_the_engines_have_room_for_theirs(mesh: Mesh) -> None:
    many = OK + b"".join(b"x-%d: a\r\n" % number for number in range(99)) + b"content-length: 0\r\n\r\n"
    filled = OK + b"x-a: %s\r\ncontent-length: 0\r\n\r\n"
    for response in (many, filled % (b"a" * (64 * 1024 - len(filled) + 2))):
        mesh.api.script = answering(response)
        for door in (mesh.outbound(), mesh.gateway(), mesh.inbound()):
            assert [one.status for one in ask(door, get())] == [200]


_GOOD = (
    OK + b"content-length: 4\r\n\r\nabcd",
    OK + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"x-a: a\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nabcd",
)
_PIECES = (
    b"\r\n", b"\n", b"\r", b" ", b":", b";", b",", b"\x00", b"0\r\n\r\n", b"content-length: 1\r\n", b"_", b"\xff",
    b"transfer-encoding: chunked\r\n", b"HTTP/1.1 101 X\r\n\r\n", b"connection: content-length\r\n", b"x-weft-reason: denied\r\n",
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good or a bad response with a few cuts and insertions."""
    data = draw(st.sampled_from([*_GOOD, *(one for one in [*BAD.values(), *TORN.values()] if len(one) < 1000)]))
    for _ in range(draw(st.integers(1, 3))):
        at, to = draw(st.integers(0, len(data))), draw(st.integers(0, 6))
        data = data[:at] + draw(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=2))) + data[at + to :]
    return data


@pytest.mark.parametrize("port", ["outbound", "gateway", "inbound"])
def test_whatever_an_application_says_its_client_reads_one_clean_answer_at_most(module_mesh: Mesh, port: str) -> None:
    mesh = module_mesh
    mesh.reset()
    door = {"outbound": mesh.outbound(), "gateway": mesh.gateway(), "inbound": mesh.inbound()}[port]

    @seed(20)
    @settings(
        max_examples=3_000 if SOAK else 150, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(mutated())
    def check(data: bytes) -> None:
        mesh.api.script = answering(data)
        responses = strict_http.read_responses(exchange(door, get(method="POST", body=b"ab")), truncated=True)
        assert len(responses) <= 1
        assert all(response.reason in ("", "reset") for response in responses)

    check()
