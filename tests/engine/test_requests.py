"""Whatever goes in, what comes out at an application is strict HTTP/1.1, and as many requests leave as were answered."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.engine.client import Door, exchange, get
from tests.engine.corpus import AFTER, CASES, Case
from tests.engine.mesh import Mesh
from tests.support import strict_http
from tests.support.strict_http import Request, Response

SOAK = os.environ.get("WEFT_SOAK") == "1"
CALLER = b"spiffe://test.weft/ns/default/dc/local/svc/web"
GATEWAY = b"spiffe://test.weft/ns/mesh/dc/local/gateway/edge"


@pytest.fixture(scope="module")
def doors(module_mesh: Mesh) -> Iterator[dict[str, Door]]:
    """Where requests go in; in the end nothing dirty has left."""
    module_mesh.reset()
    mesh = module_mesh
    yield {door.name: door for door in (mesh.outbound(), mesh.gateway(), mesh.inbound())}
    assert mesh.api.dirty == []


def passed(mesh: Mesh, door: Door, data: bytes) -> tuple[list[Request], list[Response]]:
    """What arrived of these bytes and what was answered; what every message must satisfy is checked here."""
    before = len(mesh.api.requests)
    answered = exchange(door, data)
    assert mesh.api.dirty == []
    arrived = mesh.api.requests[before:]
    responses = strict_http.read_responses(answered, [request.method for request in arrived])
    caller = GATEWAY if door.name == "gateway" else CALLER
    for request in arrived:
        assert request.values(b"x-weft-caller") == [caller]
        assert not any(request.values(name) for name in (b"x-weft-reason", b"x-weft-timeout-ms", b"upgrade"))
    served = [response for response in responses if not response.reason]
    assert len(served) == len(arrived), (arrived, responses)
    assert all(response.status == 200 for response in served)
    return arrived, responses


@pytest.mark.parametrize("port", ["outbound", "gateway", "inbound"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_tricky_request_is_refused_or_framed_anew(
    module_mesh: Mesh, doors: dict[str, Door], port: str, case: Case
) -> None:
    arrived, responses = passed(module_mesh, doors[port], case.data + AFTER)
    if case.status is None:
        assert [request.target for request in arrived][1:] == [b"/after"]
        assert arrived[0].body == case.body
        assert len(responses) == 2
    else:
        assert arrived == []
        assert [response.status for response in responses] == [case.status]
        assert responses[0].value(b"connection") == b"close"
        assert responses[0].reason == ("too_large" if case.status in (413, 431) else "bad_request")


@pytest.mark.parametrize("port", ["outbound", "gateway"])
def test_a_client_has_100_fields_and_the_engines_have_room_for_theirs(
    module_mesh: Mesh, doors: dict[str, Door], port: str
) -> None:
    fields = [f"x-{number}: a" for number in range(99)]
    arrived, _ = passed(module_mesh, doors[port], get("/", *fields))
    assert len([name for name, _ in arrived[0].fields if name.startswith(b"x-")]) > 99
    arrived, responses = passed(module_mesh, doors[port], get("/", *fields, "x-99: a"))
    assert (arrived, responses[0].status) == ([], 431)


@pytest.mark.parametrize("port", ["outbound", "gateway"])
def test_a_client_has_16_kib_and_the_engines_have_room_for_theirs(
    module_mesh: Mesh, doors: dict[str, Door], port: str
) -> None:
    empty = len(get("/", "x-a: "))
    arrived, _ = passed(module_mesh, doors[port], get("/", "x-a: " + "a" * (16 * 1024 - empty)))
    assert len(arrived) == 1
    arrived, responses = passed(module_mesh, doors[port], get("/", "x-a: " + "a" * (16 * 1024 - empty + 1)))
    assert (arrived, responses[0].status) == ([], 431)


_PIECES = (
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b",", b"\x00", b"0", b"0\r\n\r\n", b"ffffffff", b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"Connection: close\r\n", b"Connection: host\r\n", b"GET / HTTP/1.1\r\n",
    b"Expect: 100-continue\r\n", b"HTTP/1.0", b"X-Weft-Caller: me\r\n", b"_", b"%2e%2e/", b"//", b"\xff", AFTER,
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A case of the corpus, one or two behind each other, with a few cuts, copies and insertions."""
    data = b"".join(
        draw(st.lists(st.sampled_from([case.data for case in CASES if len(case.data) < 1000]), min_size=1, max_size=2))
    )
    for _ in range(draw(st.integers(1, 4))):
        at, to = draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["insert", "cut", "copy", "byte"])):
            case "insert":
                data = data[:at] + draw(st.sampled_from(_PIECES)) + data[at:]
            case "cut":
                data = data[: min(at, to)] + data[min(at + 8, max(at, to)) :]
            case "copy":
                data = data[:at] + data[min(at, to) : max(at, to)] + data[at:]
            case _:
                data = data[:at] + draw(st.binary(min_size=1, max_size=2)) + data[at + 1 :]
    return data + draw(st.sampled_from([b"", AFTER]))


@pytest.mark.parametrize("port", ["outbound", "gateway", "inbound"])
def test_mutations_leave_clean_or_not_at_all(module_mesh: Mesh, doors: dict[str, Door], port: str) -> None:
    @seed(20)
    @settings(
        max_examples=5_000 if SOAK else 150,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated())
    def check(data: bytes) -> None:
        passed(module_mesh, doors[port], data)

    check()
