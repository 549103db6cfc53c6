"""More than a service can do: what it can it still does, the rest is refused at once, and nobody is blamed for it."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from policy.compiled import Capacity, Outlier, Retry, Service, Traffic
from tests.engine.application import OK, Script, Talk
from tests.engine.client import Door, Wire, connected, get
from tests.engine.mesh import API, Mesh, running
from tests.engine.pair import one, only
from tests.mesh.mesh import eventually

AT_ONCE, WORK = 4, 0.04
"""The application does so many requests at once, each in so many seconds: 100 a second."""


ROUNDS, STEADY = 8, 0.1
"""Rounds that are tried, and how late a request may be asked for in one that counts."""


def working() -> Script:
    """An application that does what it can, in the order in which it is asked."""
    room = threading.Semaphore(AT_ONCE)

    def script(talk: Talk) -> None:
        while talk.request() is not None:
            with room:
                time.sleep(WORK)
            talk.send(OK)

    return script


def wait_for_pending(mesh: Mesh, count: int) -> None:
    """Until so many requests wait for a connection."""
    labels = ('of="pending"', 'destination="default/api"')
    eventually("so many wait", lambda: mesh.metric("weft_capacity_used", *labels) == count)


def offer(door: Door, rate: float, seconds: float) -> tuple[Counter[str], float]:
    """Statuses, and reasons, of what was asked at that rate, whatever became of it before; and how late the latest was asked."""
    clients = int(rate)
    statuses: Counter[str] = Counter()
    lock = threading.Lock()
    latest = 0.0
    begin = time.monotonic() + 0.2

    def client(number: int) -> None:
        nonlocal latest
        with connected(door) as wire:
            for turn in range(int(seconds)):
                due = begin + turn + number / rate
                time.sleep(max(0.0, due - time.monotonic()))
                late = time.monotonic() - due
                wire.send(get(method="POST", body=b"x"))
                response = wire.until(1)[0]
                with lock:
                    statuses[f"{response.status} {response.reason}".strip()] += 1
                    latest = max(latest, late)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses, latest


def offer_steadily(door: Door, rate: float, seconds: float) -> Counter[str]:
    """The same, once the machine let it be asked at that rate: a burst after a stall is more than is meant."""
    for _ in range(ROUNDS):
        statuses, late = offer(door, rate, seconds)
        if late < STEADY:
            return statuses
    pytest.fail(f"in {ROUNDS} rounds the machine stalled for {STEADY} s each time: it measures nothing")


@pytest.mark.skipif(
    not os.environ.get("WEFT_SOAK"), reason="counts what is done in two seconds, alone on its machine: WEFT_SOAK=1"
)
@pytest.mark.parametrize("where", ["caller", "called"])
def test_at_twice_the_load_as_much_is_done_as_at_its_best(pair: Mesh, where: str) -> None:
    only(pair)
    capacity = Capacity(requests=2 * AT_ONCE)
    # A process that the machine stops for longer than these is told as 504, or as 502 where it was the second try.
    patient = Traffic(timeout_ms=20_000, connect_timeout_ms=10_000, retry=Retry(max=1))
    bounded = Service(traffic=replace(patient, capacity=capacity))
    pair.services[API] = bounded if where == "caller" else Service(traffic=patient)
    pair.publish()
    if where == "called":
        snapshot = pair.snapshot(1)
        pair.services[API] = bounded
        pair.hosts[1].writer.apply({**snapshot, "service/default/api": bounded})
    pair.applications["api-2"].script = working()
    best = offer_steadily(pair.outbound(), 100, 2)
    statuses = offer_steadily(pair.outbound(), 200, 2)
    assert statuses.keys() <= {"200", "503 overloaded"}, (statuses, best)
    assert statuses["200"] >= 0.9 * best["200"], (statuses, best)
    assert pair.metric("weft_ejections_total") == 0
    assert one(pair.outbound(), get()).status == 200


@pytest.fixture(scope="module", params=[1, 4], ids=["1 worker", "4 workers"])
def module_workers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two engines, with one or four workers each."""
    with running(tmp_path_factory.mktemp("mesh"), hosts=2, instances=("api-2",), workers=request.param) as mesh:
        yield mesh


@pytest.fixture
def workers(module_workers: Mesh) -> Mesh:
    """As at its start."""
    module_workers.reset()
    only(module_workers)
    return module_workers


@pytest.mark.parametrize("bound", ["requests", "connections"])
def test_bounds_hold_over_all_workers(workers: Mesh, bound: str) -> None:
    capacity = Capacity(requests=10, pending=0) if bound == "requests" else Capacity(connections=10, pending=0)
    outlier = Outlier(consecutive=0, success_below=0.0)
    workers.services[API] = Service(traffic=Traffic(capacity=capacity, outlier=outlier, retry=Retry(max=0)))
    workers.publish()
    release = threading.Event()

    def held(talk: Talk) -> None:
        while talk.request() is not None:
            release.wait(10)
            talk.send(OK)

    workers.applications["api-2"].script = held
    statuses: Counter[int] = Counter()
    told = threading.Semaphore(0)

    def read(wire: Wire) -> None:
        response = wire.until(1)[0]
        statuses[response.status] += 1
        assert response.status == 200 or response.reason == "overloaded"
        told.release()

    with ExitStack() as stack:
        wires = [Wire(workers.outbound()) for _ in range(40)]
        threads = [threading.Thread(target=read, args=(wire,)) for wire in wires]
        for wire, thread in zip(wires, threads, strict=True):
            stack.callback(wire.close)
            wire.send(get())
            thread.start()
        for _ in range(30):
            assert told.acquire(timeout=10)
        eventually("ten are asked", lambda: len(workers.applications["api-2"].requests) == 10)
        release.set()
        for thread in threads:
            thread.join()
    assert statuses == {200: 10, 503: 30}
    assert one(workers.outbound(), get()).status == 200


def test_a_call_within_a_host_is_counted_once_on_each_side(mesh: Mesh) -> None:
    mesh.services[API] = Service(traffic=Traffic(capacity=Capacity(requests=1, connections=1, pending=1)))
    mesh.publish()
    assert [one(mesh.outbound(), get()).status for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("clients", [12, 40])
def test_who_finds_no_connection_waits_for_one_as_many_as_may(workers: Mesh, clients: int) -> None:
    capacity = Capacity(connections=4, pending=20)
    workers.services[API] = Service(traffic=Traffic(capacity=capacity, retry=Retry(max=0), connect_timeout_ms=5_000))
    workers.publish()
    application = workers.applications["api-2"]
    application.script = working()
    all_here = threading.Barrier(clients)
    statuses: Counter[int] = Counter()

    def client() -> None:
        with connected(workers.outbound()) as wire:
            for _ in range(3):
                all_here.wait(10)
                wire.send(get())
                statuses[wire.until(1)[0].status] += 1

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.total() == 3 * clients
    if clients == 12:
        assert statuses == {200: 36}
    else:
        assert 48 <= statuses[200] <= 114
        assert statuses.keys() == {200, 503}
    assert workers.metric("weft_requests_total", 'reason="overloaded"') >= (0 if clients == 12 else 1)


def test_a_connection_that_is_free_goes_to_the_newest(mesh: Mesh) -> None:
    mesh.services[API] = Service(traffic=Traffic(capacity=Capacity(connections=1, pending=5), connect_timeout_ms=5_000))
    mesh.publish()
    release = threading.Semaphore(0)
    order: list[bytes] = []

    def script(talk: Talk) -> None:
        while (request := talk.request()) is not None:
            order.append(request.target)
            release.acquire(timeout=10)
            talk.send(OK)

    mesh.api.script = script
    with ExitStack() as stack:
        wires = []
        for target in ("/first", "/old", "/new"):
            wires.append(Wire(mesh.outbound()))
            stack.callback(wires[-1].close)
            wires[-1].send(get(target))
            eventually("the first is asked", lambda: len(order) == 1)
            wait_for_pending(mesh, len(wires) - 1)
        for _ in range(3):
            release.release()
        assert [wire.until(1)[0].status for wire in wires] == [200] * 3
    assert order == [b"/first", b"/new", b"/old"]
