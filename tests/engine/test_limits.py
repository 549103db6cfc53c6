"""Limits: how much anybody gets, exactly, whichever worker is asked; who is refused is told so, and is not tried again."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from policy.compiled import Limit, Match, Prefix, Retry, Service, Traffic
from tests.engine.application import OK, Talk
from tests.engine.client import Door, Wire, ask, connected, get
from tests.engine.mesh import API, GUARDED, WEB, Mesh, running
from tests.engine.pair import one, serve

EAGER = Traffic(retry=Retry(max=3, statuses=(429, 503), backoff_base_ms=1, backoff_max_ms=2))


def limit(mesh: Mesh, *limits: Limit) -> None:
    """Publish api with these limits; its callers retry whatever they may."""
    mesh.services[API] = Service(limits=limits, traffic=EAGER)
    mesh.publish()


@pytest.fixture(scope="module", params=[1, 4], ids=["1 worker", "4 workers"])
def module_workers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """One engine, with one or four workers."""
    with running(tmp_path_factory.mktemp("mesh"), workers=request.param) as mesh:
        yield mesh


@pytest.fixture
def workers(module_workers: Mesh) -> Mesh:
    """As at its start."""
    module_workers.reset()
    return module_workers


def hammer(door: Door, seconds: float, threads: int = 8) -> tuple[Counter[int], float]:
    """Statuses of what so many connections ask one after another; and how long it took."""
    told: list[Counter[int]] = []
    began = time.monotonic()

    def run() -> None:
        statuses: Counter[int] = Counter()
        with connected(door) as wire:
            while time.monotonic() - began < seconds:
                wire.send(get())
                statuses[wire.until(1)[0].status] += 1
        told.append(statuses)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(told, Counter()), time.monotonic() - began


def test_a_rate_is_kept_whoever_is_asked(workers: Mesh) -> None:
    limit(workers, Limit("l/rate", rate=100, burst=10))
    statuses, seconds = hammer(workers.outbound(), 1.5)
    most = 10 + 100 * seconds
    assert 0.9 * most - 5 <= statuses[200] <= 1.05 * most, (statuses, seconds)
    assert statuses.keys() == {200, 429}
    assert len(workers.api.requests) == statuses[200]
    assert workers.metric("weft_limited_total", 'limit="l/rate"', 'destination="default/api"') == statuses[429]
    assert workers.metric("weft_requests_total", 'direction="inbound"', 'reason="limited"') == statuses[429]
    assert workers.metric("weft_retries_total") == 0


def test_no_more_at_a_time_than_there_are_places(workers: Mesh) -> None:
    limit(workers, Limit("l/places", concurrency=5))
    release = threading.Event()

    def script(talk: Talk) -> None:
        while talk.request() is not None:
            release.wait(10)
            talk.send(OK)

    workers.api.script = script
    with ExitStack() as stack:
        wires = [Wire(workers.outbound()) for _ in range(30)]
        for wire in wires:
            stack.callback(wire.close)
            wire.send(get())
        # Those refused are told at once; the others wait for the application.
        refused = Counter[int]()
        done = threading.Semaphore(0)

        def read(wire: Wire) -> None:
            refused[wire.until(1)[0].status] += 1
            done.release()

        threads = [threading.Thread(target=read, args=(wire,)) for wire in wires]
        for thread in threads:
            thread.start()
        for _ in range(25):
            assert done.acquire(timeout=10)
        assert refused == {429: 25}
        assert len(workers.api.requests) == 5
        release.set()
        for thread in threads:
            thread.join()
    assert refused == {429: 25, 200: 5}
    assert one(workers.outbound(), get()).status == 200


def test_who_is_refused_is_told_when_to_come_again(mesh: Mesh) -> None:
    limit(mesh, Limit("l/minute", rate=2, window_ms=60_000, burst=1))
    assert one(mesh.outbound(), get()).status == 200
    refused = one(mesh.outbound(), get())
    assert (refused.status, refused.reason, refused.value(b"retry-after")) == (429, "limited", b"30")
    assert refused.body == b"limited: default/api gives no more than limit l/minute allows\n"


def test_each_caller_has_its_own(mesh: Mesh) -> None:
    limit(mesh, Limit("l/callers", by="caller", rate=1, window_ms=3_600_000, burst=2))
    statuses = {
        caller.name: [one(mesh.inbound(caller=caller), get()).status for _ in range(4)] for caller in (WEB, GUARDED)
    }
    assert statuses == {"web": [200, 200, 429, 429], "guarded": [200, 200, 429, 429]}
    # The gateway's clients are one caller: the gateway.
    assert [one(mesh.gateway(), get()).status for _ in range(3)] == [200, 200, 429]


def test_only_what_matches_is_limited_and_every_rule_must_have_room(mesh: Mesh) -> None:
    searches = Limit("l/search", (Match(path=Prefix("/search"), methods=("GET",)),), rate=1, window_ms=3_600_000)
    everything = Limit("l/all", rate=1, window_ms=3_600_000, burst=3)
    limit(mesh, everything, searches)
    asked = ["/search", "/search", "/search/x", "/", "/", "/"]
    assert [one(mesh.outbound(), get(path)).status for path in asked] == [200, 429, 429, 200, 200, 429]
    assert one(mesh.outbound(), get("/a//b")).status == 400  # a rule looks at the path


def test_a_limit_of_others_is_none_of_ours(mesh: Mesh) -> None:
    limit(mesh, Limit("l/guarded", (Match(callers=("default/guarded",)),), rate=1, window_ms=3_600_000))
    assert [one(mesh.outbound(), get()).status for _ in range(5)] == [200] * 5
    assert [one(mesh.inbound(caller=GUARDED), get()).status for _ in range(3)] == [200, 429, 429]


def test_what_was_spent_stays_spent_when_something_else_changes(mesh: Mesh) -> None:
    spent = Limit("l/spent", rate=1, window_ms=3_600_000, burst=2)
    limit(mesh, spent)
    assert [one(mesh.outbound(), get()).status for _ in range(3)] == [200, 200, 429]
    limit(mesh, Limit("l/new", rate=1_000, burst=1_000), spent)
    mesh.services[GUARDED] = Service()
    mesh.publish()
    assert one(mesh.outbound(), get()).status == 429
    limit(mesh, Limit("l/new", rate=1_000, burst=1_000))
    assert one(mesh.outbound(), get()).status == 200


def test_a_gateway_tells_clients_apart_by_address(mesh: Mesh) -> None:
    mesh.gateway_limits = (Limit("l/clients", by="address", rate=1, window_ms=3_600_000, burst=2),)
    mesh.gateway_trusts = ("127.0.0.0/8",)
    mesh.publish()

    def from_(client: str) -> int:
        return one(mesh.gateway(), get("/", f"x-forwarded-for: {client}")).status

    assert [from_("203.0.113.1") for _ in range(3)] == [200, 200, 429]
    assert [from_(f"203.0.113.{number}, 203.0.113.1") for number in range(3)] == [429] * 3
    assert [from_("203.0.113.2") for _ in range(3)] == [200, 200, 429]
    assert mesh.metric("weft_limited_total", 'destination="gateway:edge"', 'limit="l/clients"') == 5


def test_clients_that_are_not_believed_are_who_they_are(mesh: Mesh) -> None:
    mesh.gateway_limits = (Limit("l/clients", by="address", rate=1, window_ms=3_600_000, burst=2),)
    mesh.publish()
    statuses = [one(mesh.gateway(), get("/", f"x-forwarded-for: 203.0.113.{number}")).status for number in range(4)]
    assert statuses == [200, 200, 429, 429]


def test_callers_beyond_the_bound_share_one(mesh: Mesh) -> None:
    mesh.gateway_limits = (Limit("l/many", by="address", rate=1, window_ms=3_600_000, burst=1),)
    mesh.gateway_trusts = ("127.0.0.0/8",)
    mesh.gateway_routes = ()
    mesh.publish()
    requests = [
        get("/", f"x-forwarded-for: 10.{number >> 16}.{number >> 8 & 255}.{number & 255}") for number in range(40_000)
    ]
    before = mesh.engine.resident
    statuses = Counter[int]()
    for start in range(0, len(requests), 400):
        batch = requests[start : start + 400]
        statuses.update(response.status for response in ask(mesh.gateway(), b"".join(batch)))
    # Nothing is routed anywhere, so that whoever has room is told 404.
    assert statuses.total() == len(requests)
    assert 8_000 <= statuses[404] <= 16_385, statuses
    assert mesh.metric("weft_limit_overflow_total", 'limit="l/many"') >= 20_000
    assert mesh.engine.resident - before < 8_000_000


def test_the_share_of_the_mesh_is_that_of_the_instances_here(pair: Mesh) -> None:
    pair.services[API] = Service(
        traffic=Traffic(balance="round_robin", retry=Retry(max=0)),
        limits=(Limit("l/mesh", rate=1, window_ms=3_600_000, burst=10, scope="mesh"),),
    )
    pair.publish()
    assert Counter(one(pair.outbound(), get()).status for _ in range(20)) == {200: 10, 429: 10}
    assert len(pair.api.requests) == len(pair.applications["api-2"].requests) == 5


def test_the_only_host_has_all_of_the_mesh(pair: Mesh) -> None:
    limits = (Limit("l/alone", rate=1, window_ms=3_600_000, burst=10, scope="mesh"),)
    pair.services[API] = Service(traffic=Traffic(retry=Retry(max=0)), limits=limits)
    down = replace(pair.endpoint("api-1"), state="down")
    pair.endpoints[API] = (down, pair.endpoint("api-2", host=1))
    pair.publish()
    assert Counter(one(pair.outbound(), get()).status for _ in range(20)) == {200: 10, 429: 10}


def test_refused_for_its_rate_blames_no_instance(pair: Mesh) -> None:
    serve(pair, retry=Retry(max=2, statuses=(429,), backoff_base_ms=1))
    rules = pair.services[API]
    pair.services[API] = Service(traffic=rules.traffic, limits=(Limit("l/none", rate=1, window_ms=3_600_000),))
    pair.publish()
    for _ in range(20):
        one(pair.outbound(), get())
    assert len(pair.api.requests) + len(pair.applications["api-2"].requests) == 2
    assert pair.metric("weft_retries_total") == 0
    assert pair.metric("weft_ejections_total") == 0
