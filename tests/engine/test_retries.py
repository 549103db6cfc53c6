"""What an instance that fails costs its caller, and the words and statuses it is told.

Two hosts with an engine each: web and its listeners on the first, instances of api on both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from policy.compiled import Access, Capacity, Outlier, Retry, RetryBudget, Rule, Service, Traffic
from proxy import sections
from tests.engine.application import OK, Script, Talk, answer_all, answering
from tests.engine.client import Door, Wire, ask, connected, get
from tests.engine.mesh import API, Mesh, running
from tests.support.strict_http import Response

NEVER = Outlier(consecutive=0, success_below=0.0)
FAST = Retry(max=1, backoff_base_ms=1, backoff_max_ms=2)


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two engines; api-1 on the first, api-2 on the second."""
    with running(tmp_path_factory.mktemp("mesh"), hosts=2, instances=("api-2",)) as mesh:
        yield mesh


@pytest.fixture
def mesh(two_hosts: Mesh) -> Iterator[Mesh]:
    """Both instances serve, nobody is ejected whatever happens."""
    two_hosts.reset()
    two_hosts.endpoints[API] = (two_hosts.endpoint("api-1"), two_hosts.endpoint("api-2", host=1))
    serve(two_hosts)
    yield two_hosts
    assert [application.dirty for application in two_hosts.applications.values() if application.dirty] == []


def serve(mesh: Mesh, *, retry: Retry = FAST, outlier: Outlier = NEVER, **traffic: object) -> None:
    """Publish api with this traffic."""
    made = Traffic(balance="round_robin", retry=retry, outlier=outlier, **traffic)  # type: ignore[arg-type]
    mesh.services[API] = Service(traffic=made)
    mesh.publish()


def only(mesh: Mesh, instance: str = "api-2") -> None:
    """One instance, on the other host."""
    mesh.endpoints[API] = (mesh.endpoint(instance, host=1),)
    mesh.publish()


def one(door: Door, request: bytes) -> Response:
    """The only response."""
    (response,) = ask(door, request)
    return response


def hang_up(talk: Talk) -> None:
    """Read a request, and leave."""
    talk.request()


def failing_once(fail: Callable[[Talk], None]) -> tuple[Script, list[bytes]]:
    """A script whose first request ends in `fail`; the methods it saw."""
    seen: list[bytes] = []

    def script(talk: Talk) -> None:
        while (request := talk.request()) is not None:
            seen.append(request.method)
            if len(seen) == 1:
                return fail(talk)
            talk.send(OK)
        return None

    return script, seen


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_a_dead_application_behind_a_living_engine_costs_nothing(mesh: Mesh, method: str) -> None:
    mesh.applications["api-2"].die()
    for _ in range(10):
        response = one(mesh.outbound(), get(method=method, body=b"ab"))
        assert (response.status, response.reason) == (200, "")
    assert [request.body for request in mesh.api.requests] == [b"ab"] * 10


def test_a_dead_host_costs_nothing(mesh: Mesh) -> None:
    closed = sections.Endpoint("api-3", "host-3", "127.0.0.1:1", 1, 100, "", {}, "up")
    mesh.endpoints[API] = (mesh.endpoint("api-1"), closed)
    mesh.publish()
    assert [one(mesh.outbound(), get(method="POST", body=b"ab")).status for _ in range(10)] == [200] * 10


@pytest.mark.parametrize("with_reset", [False, True], ids=["closed", "reset"])
def test_a_connection_lost_before_an_answer_is_tried_again_for_get_and_not_for_post(
    mesh: Mesh, with_reset: bool
) -> None:
    only(mesh)
    for method, status in (("GET", 200), ("PUT", 200), ("POST", 502), ("PATCH", 502)):
        script, seen = failing_once(Talk.reset if with_reset else lambda talk: None)
        mesh.applications["api-2"].hang_up()
        mesh.applications["api-2"].script = script
        response = one(mesh.outbound(), get(method=method, body=b"ab"))
        assert (method, response.status, response.reason) == (method, status, "" if status == 200 else "reset")
        assert seen == [method.encode()] * (2 if status == 200 else 1)


def test_a_method_may_be_named_as_one_that_may_be_repeated(mesh: Mesh) -> None:
    only(mesh)
    serve(mesh, retry=Retry(max=1, methods=("POST",), backoff_base_ms=1))
    mesh.applications["api-2"].script, seen = failing_once(Talk.reset)
    assert one(mesh.outbound(), get(method="POST", body=b"ab")).status == 200
    assert seen == [b"POST", b"POST"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_of_64_kib_is_sent_again_and_a_larger_one_is_not(mesh: Mesh, chunked: bool) -> None:
    only(mesh)
    for size, status in ((64 * 1024, 200), (64 * 1024 + 1, 502)):
        mesh.applications["api-2"].hang_up()
        mesh.applications["api-2"].requests.clear()
        mesh.applications["api-2"].script, seen = failing_once(Talk.reset)
        body = bytes(range(256)) * 257
        request = get(method="PUT", body=body[:size])
        if chunked:
            head = get("/", "transfer-encoding: chunked", method="PUT")
            request = head + b"%x\r\n" % size + body[:size] + b"\r\n0\r\n\r\n"
        response = one(mesh.outbound(), request)
        assert (response.status, response.reason) == (status, "" if status == 200 else "reset")
        assert {request.body for request in mesh.applications["api-2"].requests} == {body[:size]}
        assert len(seen) == (2 if status == 200 else 1)


def test_trailers_are_sent_again_with_their_body(mesh: Mesh) -> None:
    only(mesh)
    heads: list[bytes] = []

    def script(talk: Talk) -> None:
        while head := talk.head():
            rest = talk.take()
            while not rest.endswith(b"\r\n\r\n") and talk.more():
                rest += talk.take()
            heads.append(rest)
            if len(heads) == 1:
                return
            del head
            talk.send(OK)

    mesh.applications["api-2"].script = script
    chunked = get("/", "transfer-encoding: chunked", method="PUT") + b"2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n"
    assert one(mesh.outbound(), chunked).status == 200
    assert heads == [b"2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n"] * 2


def test_nothing_is_tried_again_after_the_first_byte(mesh: Mesh) -> None:
    only(mesh)
    mesh.applications["api-2"].script = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
    with connected(mesh.outbound()) as wire:
        wire.send(get())
        answered = wire.read_all()
    assert answered.endswith(b"\r\n\r\nab")
    assert len(mesh.applications["api-2"].requests) == 1


def test_a_status_that_is_named_is_tried_again_elsewhere(mesh: Mesh) -> None:
    serve(mesh, retry=Retry(max=1, statuses=(503,), backoff_base_ms=1))
    mesh.applications["api-2"].script = answering(
        b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", then_close=False
    )
    assert [one(mesh.outbound(), get()).status for _ in range(10)] == [200] * 10
    assert {one(mesh.outbound(), get(method="POST", body=b"")).status for _ in range(10)} == {200, 503}


def test_the_last_answer_of_many_tries_is_told(mesh: Mesh) -> None:
    serve(mesh, retry=Retry(max=2, statuses=(503,), backoff_base_ms=1))
    for application in mesh.applications.values():
        application.script = answering(b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", then_close=False)
    response = one(mesh.outbound(), get())
    assert (response.status, response.body, response.reason) == (503, b"busy", "")
    assert sum(len(application.requests) for application in mesh.applications.values()) == 3


def test_resets_for_ever_end_as_retry_exhausted(mesh: Mesh) -> None:
    serve(mesh, retry=Retry(max=2, backoff_base_ms=1))
    for application in mesh.applications.values():
        application.script = hang_up
    response = one(mesh.outbound(), get())
    assert (response.status, response.reason) == (502, "retry_exhausted")


def test_the_budget_bounds_the_retries_of_many(mesh: Mesh) -> None:
    only(mesh)
    serve(mesh, retry=Retry(max=3, backoff_base_ms=100, backoff_max_ms=200), retry_budget=RetryBudget(0.0, 1))
    all_here = threading.Event()

    def script(talk: Talk) -> None:
        if talk.request() is not None:
            # The first twenty fail at the same moment.
            if len(mesh.applications["api-2"].requests) >= 20:
                all_here.set()
            all_here.wait(5)

    mesh.applications["api-2"].script = script
    wires = [Wire(mesh.outbound()) for _ in range(20)]
    for wire in wires:
        wire.send(get())
    reasons = [wire.until(1)[0].reason for wire in wires]
    for wire in wires:
        wire.close()
    assert reasons.count("reset") >= 15
    assert len(mesh.applications["api-2"].requests) <= 24


def test_an_outlier_is_ejected_and_asked_no_more(mesh: Mesh) -> None:
    serve(mesh, outlier=Outlier(consecutive=3, success_below=0.0, eject_ms=60_000))
    bad = mesh.applications["api-2"]
    bad.script = answering(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\noh", then_close=False)
    answered = [one(mesh.outbound(), get()).status for _ in range(30)]
    assert answered.count(500) == 3
    assert answered[10:] == [200] * 20
    assert len(bad.requests) == 3


def test_an_ejected_instance_returns(mesh: Mesh) -> None:
    serve(mesh, outlier=Outlier(consecutive=2, success_below=0.0, eject_ms=200))
    bad = mesh.applications["api-2"]
    bad.script = answering(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\noh")
    while len(bad.requests) < 2:
        one(mesh.outbound(), get())
    bad.script = answer_all
    bad.requests.clear()
    for _ in range(2000):
        assert one(mesh.outbound(), get()).status == 200
        if bad.requests:
            return
    raise AssertionError("it does not come back")


def test_the_only_instance_is_asked_even_if_it_fails(mesh: Mesh) -> None:
    only(mesh)
    serve(mesh, retry=Retry(max=0), outlier=Outlier(consecutive=1, success_below=0.0, max_ejected=50.0))
    mesh.applications["api-2"].script = answering(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", then_close=False)
    assert [one(mesh.outbound(), get()).status for _ in range(5)] == [500] * 5


def test_no_instance_is_said_so(mesh: Mesh) -> None:
    mesh.endpoints[API] = ()
    mesh.publish()
    for door in (mesh.outbound(), mesh.gateway()):
        response = one(door, get())
        assert (response.status, response.reason) == (503, "no_endpoint")


def test_every_instance_dead_is_said_so(mesh: Mesh) -> None:
    only(mesh)
    mesh.applications["api-2"].die()
    serve(mesh, retry=Retry(max=0))
    response = one(mesh.outbound(), get())
    assert (response.status, response.reason) == (503, "connect_failed")
    serve(mesh, retry=FAST)
    response = one(mesh.outbound(), get())
    assert (response.status, response.reason) == (502, "retry_exhausted")


def test_no_answer_in_time_is_said_so(mesh: Mesh) -> None:
    only(mesh)
    done = threading.Event()

    def script(talk: Talk) -> None:
        if talk.request() is not None:
            done.wait(10)

    mesh.applications["api-2"].script = script
    serve(mesh, retry=Retry(max=0), timeout_ms=200)
    response = one(mesh.outbound(), get())
    done.set()
    assert (response.status, response.reason) == (504, "request_timeout")


def test_who_may_not_call_is_said_so_and_tried_once(mesh: Mesh) -> None:
    nobody = Access(rules=(Rule("nobody", "allow", callers=("default/somebody",)),))
    mesh.services[API] = Service(access=nobody, traffic=Traffic(retry=Retry(max=3)))
    mesh.publish()
    for door in (mesh.outbound(), mesh.gateway()):
        response = one(door, get())
        assert (response.status, response.reason) == (403, "denied")
    assert mesh.api.requests == []


def test_more_than_a_service_has_room_for_is_said_so(mesh: Mesh) -> None:
    only(mesh)
    arrived, go_on = threading.Event(), threading.Event()

    def script(talk: Talk) -> None:
        while talk.request() is not None:
            arrived.set()
            go_on.wait(10)
            talk.send(OK)

    mesh.applications["api-2"].script = script
    serve(mesh, capacity=Capacity(requests=1))
    with connected(mesh.outbound()) as wire:
        wire.send(get())
        assert arrived.wait(10)
        response = one(mesh.outbound(), get())
        assert (response.status, response.reason) == (503, "overloaded")
        go_on.set()
        assert wire.until(1)[0].status == 200


def test_a_certificate_that_is_not_the_services_is_said_so(mesh: Mesh) -> None:
    wrong = sections.Endpoint("api-1", "host-9", f"127.0.0.1:{mesh.hosts[1].inbound}", 1, 100, "", {}, "up")
    mesh.endpoints[API] = (wrong,)
    mesh.hosts[0].writer.apply(mesh.snapshot(0))
    mesh.endpoints[API] = ()
    mesh.hosts[1].writer.apply(mesh.snapshot(1))
    serve_only_first = mesh.services[API]
    assert serve_only_first.traffic.retry.max == 1
    response = one(mesh.outbound(), get(method="POST", body=b""))
    assert (response.status, response.reason) in {(502, "retry_exhausted"), (502, "tls_failed")}
