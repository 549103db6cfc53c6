"""From HTTP/2 to HTTP/1.1 and back: whatever goes in, what comes out is strict, and as many requests leave as were answered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from policy.compiled import Service
from tests.engine import framed
from tests.engine.client import exchange
from tests.engine.corpus import AFTER, CASES, Case
from tests.engine.framed import Asked, FramedApplication, Told
from tests.engine.mesh import API, Mesh
from tests.support import strict_http
from tests.support.strict_http import Request

SOAK = os.environ.get("WEFT_SOAK") == "1"
PSEUDO = {b":method": b"GET", b":scheme": b"http", b":path": b"/", b":authority": b"api.test"}
GOOD = Asked([*(PSEUDO | {b":path": b"/after"}).items()])
CALLER = b"spiffe://test.weft/ns/default/dc/local/svc/web"
GATEWAY = b"spiffe://test.weft/ns/mesh/dc/local/gateway/edge"


@dataclass(frozen=True, slots=True)
class Frames:
    """A request in frames; `passes`: it arrives, else it does not, whatever is answered."""

    name: str
    asked: Asked
    passes: bool = False


def _of(
    name: str, *further: tuple[bytes, bytes], passes: bool = False, body: bytes = b"", **pseudo: bytes | None
) -> Frames:
    fields = [(key, pseudo.get(key[1:].decode(), value)) for key, value in PSEUDO.items()]
    return Frames(name, Asked([(key, value) for key, value in fields if value is not None] + [*further], body), passes)


def _heads() -> Iterator[Frames]:
    """What stands before the fields."""
    for method in (b"GET", b"OPTIONS", b"M-SEARCH", b"DELETE"):
        yield _of(f"method {method!r}", method=method, passes=True)
    bad: bytes | None
    for bad in (b"get", b"GE T", b"GET\r\n", b"", b"A" * 21, b"TRACE", None):
        yield _of(f"method {bad!r}", method=bad)
    yield _of("connect", (b"x-a", b"b"), method=b"CONNECT")
    for path in (b"/", b"/a?b=c", b"/a/../b", b"/%2e", b"/a%2fb", b"//a"):
        yield _of(f"path {path!r}", path=path, passes=True)
    # The library takes what follows off before anybody sees it.
    yield _of("path with a fragment", path=b"/a#b", passes=True)
    yield _of("path for options", method=b"OPTIONS", path=b"*", passes=True)
    for bad in (b"", b"a", b"*", b"/a b", b"/\r\nx: y", b"/\xc3\xa4", b"/\x00", b"/\\", b'/"', b"/%zz",
                 b"/ HTTP/1.1\r\nhost: b\r\n\r\nGET /", b"/" + b"a" * 8_000, None):  # fmt: skip
        yield _of(f"path {(bad or b'none')[:40]!r}", path=bad)
    for path in (b"http://evil.test/", b"https://evil.test/"):
        yield _of(f"path {path!r}", path=path)
    for authority in (b"api.test:80", b"API.test", b"[::1]:8080"):
        yield _of(f"authority {authority!r}", authority=authority, passes=True)
    for bad in (b"", b"a@b", b"a b", b"a,b", b"a/b", b"a:123456", b"a:b", b"a\r\nx: y", None):
        yield _of(f"authority {bad!r}", authority=bad)
    yield _of("host alone", (b"host", b"api.test"), authority=None, passes=True)
    yield _of("host that says the same", (b"host", b"api.test"), passes=True)
    yield _of("host that says another", (b"host", b"b.test"))
    yield _of("two hosts", (b"host", b"api.test"), (b"host", b"api.test"))
    yield _of("no scheme", scheme=None)
    yield _of("an unknown pseudo field", (b":protocol2", b"a"))
    yield _of("a pseudo field behind others", (b"x-a", b"b"), (b":path", b"/c"))
    yield _of("status in a request", (b":status", b"200"))


def _fields() -> Iterator[Frames]:
    """Fields, bodies and trailers."""
    for line in ((b"x-a", b"b"), (b"x-a", b""), (b"x-a", b"\xc3\xa4"), (b"te", b"trailers"), (b"x_a", b"b"), (b"trailer", b"a"),
                 (b"x-weft-caller", b"me"), (b"x-weft-reason", b"denied"), (b"cookie", b""), (b"expect", b"100-continue")):  # fmt: skip
        yield _of(f"field {line!r}", line, passes=True)
    for line in ((b"X-A", b"b"), (b"x a", b"b"), (b"x:a", b"b"), (b"", b"b"), (b"x\r\ny", b"b"), (b"x-a", b"b\r\nhost: c"),
                 (b"x-a", b"\x00"), (b"x-a", b"a\x7f"), (b"x-a", b"a\nb"), (b"connection", b"close"), (b"connection", b"x-b"),
                 (b"transfer-encoding", b"chunked"), (b"upgrade", b"websocket"), (b"keep-alive", b"a"), (b"te", b"gzip"),
                 (b"te", b"trailers, gzip"), (b"proxy-connection", b"a"), (b"expect", b"a"),
                 (b"http2-settings", b"a")):  # fmt: skip
        yield _of(f"field {line!r}", line)
    yield _of("100 fields", *[(b"x-%d" % number, b"a") for number in range(100)], passes=True)
    yield _of("101 fields", *[(b"x-%d" % number, b"a") for number in range(101)])
    yield _of("101 crumbs", *[(b"cookie", b"a") for _ in range(101)])
    yield _of("crumbs", (b"cookie", b"a=1"), (b"cookie", b""), (b"cookie", b"b=2"), (b"cookie", b""), passes=True)
    yield _of("17 KiB of fields", *[(b"x-%d" % number, b"a" * 1_000) for number in range(17)])
    for length in (b"5", b"+4", b"4, 4", b"0x4", b"", b"4 ", b"1111111111111111111"):
        yield _of(f"length {length!r}", (b"content-length", length), method=b"POST", body=b"four")
    yield _of("two lengths", (b"content-length", b"4"), (b"content-length", b"4"), method=b"POST", body=b"four")
    yield _of("length of nothing", (b"content-length", b"4"), method=b"POST")
    yield _of("a body with its length", (b"content-length", b"4"), method=b"POST", body=b"four", passes=True)
    yield _of(
        "a body that looks like chunks", method=b"POST", body=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n", passes=True
    )
    posted = _of("", method=b"POST", body=b"four").asked
    yield Frames("trailers", replace(posted, trailers=[(b"x-sum", b"1")]), passes=True)
    # The library leaves it out before anybody sees it.
    yield Frames("a pseudo field as a trailer", replace(posted, trailers=[(b":path", b"/b")]), passes=True)
    for name in (
        b"content-length",
        b"transfer-encoding",
        b"host",
        b"x-weft-caller",
        b"authorization",
        b"X-A",
    ):
        yield Frames(f"trailer {name!r}", replace(posted, trailers=[(name, b"1")]))


FRAMES = [*_heads(), *_fields()]


def counted(arrived: list[Request], told: list[Told], caller: bytes) -> None:
    """As many arrived as were answered by an application, and each from whom it came."""
    served = [one for one in told if one.status == 200 and not one.reason]
    assert len(served) == len(arrived), (arrived, told)
    refused = [one for one in told if one not in served]
    # Of a list of fields beyond the bound the library speaks for itself.
    assert all(one.status in (None, 431) or one.reason for one in refused), told
    for request in arrived:
        assert request.values(b"x-weft-caller") == [caller]
        assert not any(request.values(name) for name in (b"x-weft-reason", b"x-weft-timeout-ms", b"upgrade"))


def framed_in(mesh: Mesh, requests: list[Asked]) -> tuple[list[Request], list[Told]]:
    """What arrived of these in HTTP/1.1, and what was told of each."""
    before = len(mesh.api.requests)
    told = framed.ask(mesh.outbound().port, requests)
    assert mesh.api.dirty == []
    arrived = mesh.api.requests[before:]
    counted(arrived, told, CALLER)
    return arrived, told


@pytest.mark.parametrize("case", FRAMES, ids=lambda case: case.name)
def test_a_tricky_request_in_frames_is_refused_or_written_in_lines(mesh: Mesh, case: Frames) -> None:
    arrived, (told, after) = framed_in(mesh, [case.asked, GOOD])
    found = [request for request in arrived if request.target != b"/after"]
    assert [request.body for request in found] == [case.asked.body] * case.passes, (told, after)
    assert (told.status == 200) == case.passes
    # What is wrong with a stream is no fault of others; what cannot be read at all ends the connection.
    assert after.status in ((200,) if case.passes else (200, None))


_PIECES = (b"\r\n", b"\n", b" ", b"\t", b":", b",", b";", b"\x00", b"\xff", b"_", b"#", b"%2e", b"//", b"chunked", b"trailers", b"4",
           b"HTTP/1.1", b"close", b"x-weft-caller", b"host", b"GET", b"\x7f", b"A")  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> Asked:
    """A case with a few of its fields changed, doubled or left out."""
    asked = draw(st.sampled_from([case.asked for case in FRAMES if len(case.asked.fields) < 20]))
    fields = list(asked.fields)
    for _ in range(draw(st.integers(0, 3))):
        if not fields:
            break
        at = draw(st.integers(0, len(fields) - 1))
        name, value = fields[at]
        cut = draw(st.integers(0, len(value)))
        match draw(st.sampled_from(["value", "name", "double", "drop", "other"])):
            case "value":
                fields[at] = (name, value[:cut] + draw(st.sampled_from(_PIECES)) + value[cut:])
            case "name":
                fields[at] = (name + draw(st.sampled_from(_PIECES)), value)
            case "double":
                fields.insert(draw(st.integers(0, len(fields))), fields[at])
            case "drop":
                del fields[at]
            case _:
                fields.append(draw(st.sampled_from(draw(st.sampled_from(FRAMES)).asked.fields)))
    return replace(asked, fields=fields, body=draw(st.sampled_from([asked.body, b"", b"four"])))


def test_mutations_in_frames_leave_clean_or_not_at_all(module_mesh: Mesh) -> None:
    module_mesh.reset()

    @seed(20)
    @settings(
        max_examples=5_000 if SOAK else 200, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(mutated(), min_size=1, max_size=3))
    def check(requests: list[Asked]) -> None:
        framed_in(module_mesh, [*requests, GOOD])

    check()


@pytest.fixture(scope="module")
def application() -> Iterator[FramedApplication]:
    """An application that takes HTTP/2 only; nothing dirty may have reached it in the end."""
    application = FramedApplication()
    yield application
    application.close()
    assert application.dirty == []


@pytest.fixture(scope="module")
def framed_mesh(module_mesh: Mesh, application: FramedApplication) -> Mesh:
    """The mesh with api as that application."""
    module_mesh.reset()
    module_mesh.services[API] = Service(protocol="http2")
    module_mesh.endpoints[API] = (replace(module_mesh.endpoint("api-1"), port=application.port),)
    module_mesh.publish()
    return module_mesh


@pytest.mark.parametrize("port", ["outbound", "gateway"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_tricky_request_in_lines_is_refused_or_framed(
    framed_mesh: Mesh, application: FramedApplication, port: str, case: Case
) -> None:
    door = framed_mesh.outbound() if port == "outbound" else framed_mesh.gateway()
    before = len(application.requests)
    answered = exchange(door, case.data + AFTER)
    assert application.dirty == []
    arrived = application.requests[before:]
    responses = strict_http.read_responses(answered, [request.method for request in arrived])
    told = [Told(response.status, response.reason) for response in responses]
    counted(arrived, told, CALLER if port == "outbound" else GATEWAY)
    if case.status is None:
        assert [request.target for request in arrived][1:] == [b"/after"], (arrived, responses)
        assert arrived[0].body == case.body
    else:
        assert (arrived, [one.status for one in told]) == ([], [case.status])
