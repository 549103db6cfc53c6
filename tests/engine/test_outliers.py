"""Instances that fail again and again, and the words and statuses of what an engine answers by itself."""

from __future__ import annotations

import threading

from policy.compiled import Access, Capacity, Outlier, Retry, Rule, Service, Traffic
from proxy import sections
from tests.engine.application import OK, Talk, answer_all, answering
from tests.engine.client import connected, get
from tests.engine.mesh import API, Mesh
from tests.engine.pair import FAST, one, only, serve


def test_an_outlier_is_ejected_and_asked_no_more(pair: Mesh) -> None:
    serve(pair, outlier=Outlier(consecutive=3, success_below=0.0, eject_ms=60_000))
    bad = pair.applications["api-2"]
    bad.script = answering(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\noh", then_close=False)
    answered = [one(pair.outbound(), get()).status for _ in range(30)]
    assert answered.count(500) == 3
    assert answered[10:] == [200] * 20
    assert len(bad.requests) == 3


def test_an_ejected_instance_returns(pair: Mesh) -> None:
    serve(pair, outlier=Outlier(consecutive=2, success_below=0.0, eject_ms=200))
    bad = pair.applications["api-2"]
    bad.script = answering(b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\noh")
    while len(bad.requests) < 2:
        one(pair.outbound(), get())
    bad.script = answer_all
    bad.requests.clear()
    for _ in range(2000):
        assert one(pair.outbound(), get()).status == 200
        if bad.requests:
            return
    raise AssertionError("it does not come back")


def test_the_only_instance_is_asked_even_if_it_fails(pair: Mesh) -> None:
    only(pair)
    serve(pair, retry=Retry(max=0), outlier=Outlier(consecutive=1, success_below=0.0, max_ejected=50.0))
    pair.applications["api-2"].script = answering(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", then_close=False)
    assert [one(pair.outbound(), get()).status for _ in range(5)] == [500] * 5


def test_no_instance_is_said_so(pair: Mesh) -> None:
    pair.endpoints[API] = ()
    pair.publish()
    for door in (pair.outbound(), pair.gateway()):
        response = one(door, get())
        assert (response.status, response.reason) == (503, "no_endpoint")


def test_every_instance_dead_is_said_so(pair: Mesh) -> None:
    only(pair)
    pair.applications["api-2"].die()
    serve(pair, retry=Retry(max=0))
    response = one(pair.outbound(), get())
    assert (response.status, response.reason) == (503, "connect_failed")
    serve(pair, retry=FAST)
    response = one(pair.outbound(), get())
    assert (response.status, response.reason) == (502, "retry_exhausted")


def test_no_answer_in_time_is_said_so(pair: Mesh) -> None:
    only(pair)
    done = threading.Event()

    def script(talk: Talk) -> None:
        if talk.request() is not None:
            done.wait(10)

    pair.applications["api-2"].script = script
    serve(pair, retry=Retry(max=0), timeout_ms=200)
    response = one(pair.outbound(), get())
    done.set()
    assert (response.status, response.reason) == (504, "request_timeout")


def test_who_may_not_call_is_said_so_and_tried_once(pair: Mesh) -> None:
    nobody = Access(rules=(Rule("nobody", "allow", callers=("default/somebody",)),))
    pair.services[API] = Service(access=nobody, traffic=Traffic(retry=Retry(max=3)))
    pair.publish()
    for door in (pair.outbound(), pair.gateway()):
        response = one(door, get())
        assert (response.status, response.reason) == (403, "denied")
    assert pair.api.requests == []


def test_more_than_a_service_has_room_for_is_said_so(pair: Mesh) -> None:
    only(pair)
    arrived, go_on = threading.Event(), threading.Event()

    def script(talk: Talk) -> None:
        while talk.request() is not None:
            arrived.set()
            go_on.wait(10)
            talk.send(OK)

    pair.applications["api-2"].script = script
    serve(pair, capacity=Capacity(requests=1))
    with connected(pair.outbound()) as wire:
        wire.send(get())
        assert arrived.wait(10)
        response = one(pair.outbound(), get())
        assert (response.status, response.reason) == (503, "overloaded")
        go_on.set()
        assert wire.until(1)[0].status == 200


def test_a_certificate_that_is_not_the_services_is_said_so(pair: Mesh) -> None:
    wrong = sections.Endpoint("api-1", "host-9", f"127.0.0.1:{pair.hosts[1].inbound}", 1, 100, "", {}, "up")
    pair.endpoints[API] = (wrong,)
    pair.hosts[0].writer.apply(pair.snapshot(0))
    pair.endpoints[API] = ()
    pair.hosts[1].writer.apply(pair.snapshot(1))
    serve_only_first = pair.services[API]
    assert serve_only_first.traffic.retry.max == 1
    response = one(pair.outbound(), get(method="POST", body=b""))
    assert (response.status, response.reason) in {(502, "retry_exhausted"), (502, "tls_failed")}
