"""What an instance that fails costs its caller: nothing where nothing was delivered, and never the same thing twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from policy.compiled import Retry, RetryBudget
from proxy import sections
from tests.engine.application import OK, Script, Talk, answering
from tests.engine.client import Wire, connected, get
from tests.engine.mesh import API, Mesh
from tests.engine.pair import one, only, serve


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
def test_a_dead_application_behind_a_living_engine_costs_nothing(pair: Mesh, method: str) -> None:
    pair.applications["api-2"].die()
    for _ in range(10):
        response = one(pair.outbound(), get(method=method, body=b"ab"))
        assert (response.status, response.reason) == (200, "")
    assert [request.body for request in pair.api.requests] == [b"ab"] * 10


def test_a_dead_host_costs_nothing(pair: Mesh) -> None:
    closed = sections.Endpoint("api-3", "host-3", "127.0.0.1:1", 1, 100, "", {}, "up")
    pair.endpoints[API] = (pair.endpoint("api-1"), closed)
    pair.publish()
    assert [one(pair.outbound(), get(method="POST", body=b"ab")).status for _ in range(10)] == [200] * 10


@pytest.mark.parametrize("with_reset", [False, True], ids=["closed", "reset"])
def test_a_connection_lost_before_an_answer_is_tried_again_for_get_and_not_for_post(
    pair: Mesh, with_reset: bool
) -> None:
    only(pair)
    for method, status in (("GET", 200), ("PUT", 200), ("POST", 502), ("PATCH", 502)):
        script, seen = failing_once(Talk.reset if with_reset else lambda talk: None)
        pair.applications["api-2"].hang_up()
        pair.applications["api-2"].script = script
        response = one(pair.outbound(), get(method=method, body=b"ab"))
        assert (method, response.status, response.reason) == (method, status, "" if status == 200 else "reset")
        assert seen == [method.encode()] * (2 if status == 200 else 1)


def test_a_method_may_be_named_as_one_that_may_be_repeated(pair: Mesh) -> None:
    only(pair)
    serve(pair, retry=Retry(max=1, methods=("POST",), backoff_base_ms=1))
    pair.applications["api-2"].script, seen = failing_once(Talk.reset)
    assert one(pair.outbound(), get(method="POST", body=b"ab")).status == 200
    assert seen == [b"POST", b"POST"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_of_64_kib_is_sent_again_and_a_larger_one_is_not(pair: Mesh, chunked: bool) -> None:
    only(pair)
    for size, status in ((64 * 1024, 200), (64 * 1024 + 1, 502)):
        pair.applications["api-2"].hang_up()
        pair.applications["api-2"].requests.clear()
        pair.applications["api-2"].script, seen = failing_once(Talk.reset)
        body = bytes(range(256)) * 257
        request = get(method="PUT", body=body[:size])
        if chunked:
            head = get("/", "transfer-encoding: chunked", method="PUT")
            request = head + b"%x\r\n" % size + body[:size] + b"\r\n0\r\n\r\n"
        response = one(pair.outbound(), request)
        assert (response.status, response.reason) == (status, "" if status == 200 else "reset")
        assert {request.body for request in pair.applications["api-2"].requests} == {body[:size]}
        assert len(seen) == (2 if status == 200 else 1)


def test_trailers_are_sent_again_with_their_body(pair: Mesh) -> None:
    only(pair)
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

    pair.applications["api-2"].script = script
    chunked = get("/", "transfer-encoding: chunked", method="PUT") + b"2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n"
    assert one(pair.outbound(), chunked).status == 200
    assert heads == [b"2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n"] * 2


def test_nothing_is_tried_again_after_the_first_byte(pair: Mesh) -> None:
    only(pair)
    pair.applications["api-2"].script = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
    with connected(pair.outbound()) as wire:
        wire.send(get())
        answered = wire.read_all()
    assert answered.endswith(b"\r\n\r\nab")
    assert len(pair.applications["api-2"].requests) == 1


def test_a_status_that_is_named_is_tried_again_elsewhere(pair: Mesh) -> None:
    serve(pair, retry=Retry(max=1, statuses=(503,), backoff_base_ms=1))
    pair.applications["api-2"].script = answering(
        b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", then_close=False
    )
    assert [one(pair.outbound(), get()).status for _ in range(10)] == [200] * 10
    assert {one(pair.outbound(), get(method="POST", body=b"")).status for _ in range(10)} == {200, 503}


def test_an_answer_that_asks_to_be_left_alone_is_if_there_is_time(pair: Mesh) -> None:
    only(pair)
    busy = b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
    asked: list[float] = []

    def script(talk: Talk) -> None:
        while talk.request() is not None:
            asked.append(time.monotonic())
            talk.send(busy if len(asked) == 1 else OK)

    pair.applications["api-2"].script = script
    serve(pair, retry=Retry(max=1, statuses=(503,), backoff_base_ms=1))
    assert one(pair.outbound(), get()).status == 200
    assert 1.0 <= asked[1] - asked[0] < 1.5
    # Within half a second nobody may ask again, so that the answer is told as it is.
    asked.clear()
    serve(pair, retry=Retry(max=1, statuses=(503,), backoff_base_ms=1), timeout_ms=500)
    response = one(pair.outbound(), get())
    assert (response.status, response.value(b"retry-after"), len(asked)) == (503, b"1", 1)


def test_a_body_that_is_gone_is_counted(pair: Mesh) -> None:
    only(pair)
    pair.applications["api-2"].script, seen = failing_once(Talk.reset)
    gone = ('outcome="body_gone"', 'destination="default/api"')
    before = pair.metric("weft_retries_total", *gone)
    assert one(pair.outbound(), get(method="PUT", body=b"a" * 100_000)).status == 502
    assert len(seen) == 1
    assert pair.metric("weft_retries_total", *gone) == before + 1


def test_the_last_answer_of_many_tries_is_told(pair: Mesh) -> None:
    serve(pair, retry=Retry(max=2, statuses=(503,), backoff_base_ms=1))
    for application in pair.applications.values():
        application.script = answering(b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", then_close=False)
    response = one(pair.outbound(), get())
    assert (response.status, response.body, response.reason) == (503, b"busy", "")
    assert sum(len(application.requests) for application in pair.applications.values()) == 3


def test_resets_for_ever_end_as_retry_exhausted(pair: Mesh) -> None:
    serve(pair, retry=Retry(max=2, backoff_base_ms=1))
    for application in pair.applications.values():
        application.script = hang_up
    response = one(pair.outbound(), get())
    assert (response.status, response.reason) == (502, "retry_exhausted")


def test_the_budget_bounds_the_retries_of_many(pair: Mesh) -> None:
    only(pair)
    serve(pair, retry=Retry(max=3, backoff_base_ms=100, backoff_max_ms=200), retry_budget=RetryBudget(0.0, 1))
    all_here = threading.Event()

    def script(talk: Talk) -> None:
        if talk.request() is not None:
            # The first twenty fail at the same moment.
            if len(pair.applications["api-2"].requests) >= 20:
                all_here.set()
            all_here.wait(5)

    pair.applications["api-2"].script = script
    wires = [Wire(pair.outbound()) for _ in range(20)]
    for wire in wires:
        wire.send(get())
    reasons = [wire.until(1)[0].reason for wire in wires]
    for wire in wires:
        wire.close()
    assert reasons.count("reset") >= 15
    assert len(pair.applications["api-2"].requests) <= 24
