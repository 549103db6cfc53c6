"""How requests are spread over real upstreams, with one worker and with four; shares within what chance allows.

A bound of five and a half standard deviations is missed by chance once in twenty-five million times.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from policy import compiled
from policy.compiled import Access, Balance, Outlier, Retry, Rule, Service, Traffic
from proxy import sections
from tests.engine.application import Script, Talk
from tests.engine.client import Door, connected, get
from tests.engine.mesh import API, GUARDED, Mesh, running
from tests.engine.pair import NEVER
from tests.engine.test_metrics import soon, total

INSTANCES = ("api-1", "api-2", "api-3", "api-4")
WITHIN = 15.0
WIRES = 8
STILL = Retry(max=0)


def says(name: str, *, status: int = 200, after: float = 0.0) -> Script:
    """Every request: the instance's name."""
    head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(name)}\r\n\r\n"

    def script(talk: Talk) -> None:
        while talk.request() is not None:
            time.sleep(after)
            talk.send(f"{head}{name}".encode())

    return script


@pytest.fixture(scope="module", params=[1, 4], ids=["one worker", "four workers"])
def module_crowd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two hosts, the caller's in zone a."""
    directory = tmp_path_factory.mktemp("crowd")
    with running(directory, hosts=2, instances=INSTANCES[1:], workers=request.param) as mesh:
        yield mesh


@pytest.fixture
def crowd(module_crowd: Mesh) -> Mesh:
    """The module's mesh: four instances of api, all but the first on the other host, each saying its name."""
    module_crowd.zone = "a"
    module_crowd.reset()
    for name in INSTANCES:
        module_crowd.applications[name].script = says(name)
    return module_crowd


def serve(mesh: Mesh, *endpoints: sections.Endpoint, **traffic: object) -> None:
    """Publish api with these instances and this traffic; what was learned of earlier ones is forgotten first."""
    mesh.endpoints[API] = ()
    mesh.publish()
    more(mesh, *endpoints, **traffic)


def more(mesh: Mesh, *endpoints: sections.Endpoint, **traffic: object) -> None:
    """The same, and what was learned stays."""
    mesh.endpoints[API] = endpoints
    said = {"retry": STILL, "outlier": NEVER, **traffic}
    mesh.services[API] = Service(traffic=Traffic(**said))  # type: ignore[arg-type]
    mesh.publish()


def instance(mesh: Mesh, name: str, **changes: object) -> sections.Endpoint:
    """One of them: the first on the caller's host, the others on the other."""
    return replace(mesh.endpoint(name, host=0 if name == "api-1" else 1), **changes)  # type: ignore[arg-type]


def everybody(mesh: Mesh) -> list[sections.Endpoint]:
    return [instance(mesh, name) for name in INSTANCES]


def said(door: Door, count: int, *fields: str, target: str = "/") -> list[tuple[int, str]]:
    """Status and body of so many requests on one connection."""
    found = []
    with connected(door) as wire:
        for _ in range(count):
            wire.send(get(target, *fields))
            (response,) = wire.until(1)
            found.append((response.status, response.body.decode()))
    return found


def spread(mesh: Mesh, count: int) -> Counter[str]:
    """Who answered so many requests on several connections at once."""
    with ThreadPoolExecutor(WIRES) as pool:
        parts = list(pool.map(lambda _: said(mesh.outbound(), count // WIRES), range(WIRES)))
    found = [one for part in parts for one in part]
    assert {status for status, _ in found} == {200}, [one for one in found if one[0] != 200]
    return Counter(body for _, body in found)


def near(found: int, of: int, share: float) -> bool:
    """Whether chance explains it."""
    return abs(found - of * share) <= 5.5 * math.sqrt(of * share * (1 - share)) + 1e-9


def eventually(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.02)


@pytest.mark.parametrize("balance", ["p2c", "least_request", "round_robin", "random"])
def test_every_balancer_sends_nothing_to_weight_0(crowd: Mesh, balance: Balance) -> None:
    weights = {"api-1": 100, "api-2": 200, "api-3": 0}
    serve(crowd, *(instance(crowd, name, weight=weight) for name, weight in weights.items()), balance=balance)
    found = spread(crowd, 960)
    assert found.keys() == {"api-1", "api-2"}
    if balance in ("round_robin", "random"):  # the others look at load and latency too
        assert near(found["api-1"], 960, 1 / 3), found


KEYED: list[tuple[Balance, Callable[[str], tuple[str, tuple[str, ...]]]]] = [
    (compiled.RingHash(compiled.HeaderKey("x-user")), lambda key: ("/", (f"X-User: {key}",))),
    (compiled.RingHash(compiled.QueryKey("user")), lambda key: (f"/?a=1&user={key}", ())),
    (compiled.Maglev(compiled.MaglevTable(compiled.CookieKey("sid"))), lambda key: ("/", (f"Cookie: a=b; sid={key}",))),
]


@pytest.mark.parametrize(("balance", "asking"), KEYED, ids=["ring by header", "ring by query", "maglev by cookie"])
def test_a_key_stays_with_its_instance_and_only_the_keys_of_one_that_leaves_move(
    crowd: Mesh, balance: Balance, asking: Callable[[str], tuple[str, tuple[str, ...]]]
) -> None:
    def owners(times: int = 1) -> dict[str, str]:
        found: dict[str, str] = {}
        for number in range(60):
            target, fields = asking(f"u{number}")
            for _ in range(times):  # on connections of their own: any worker
                ((status, body),) = said(crowd.outbound(), 1, *fields, target=target)
                assert status == 200
                assert found.setdefault(f"u{number}", body) == body
        return found

    serve(crowd, *everybody(crowd), balance=balance)
    before = owners(3)
    assert len(set(before.values())) == 4, "no instance is left out of 60 keys, but once in ten million"
    without = [one for one in everybody(crowd) if one.instance != "api-2"]
    more(crowd, *without, balance=balance)
    after = owners()
    kept = {key for key, owner in before.items() if owner != "api-2"}
    moved = {key for key in kept if after[key] != before[key]}
    most = 0 if isinstance(balance, compiled.RingHash) else 12
    assert len(moved) <= most, moved
    assert "api-2" not in after.values()
    more(crowd, *reversed(everybody(crowd)), balance=balance)
    assert owners() == before
    found = spread(crowd, 480)  # without a key
    assert all(near(found[name], 480, 1 / 4) for name in INSTANCES), found


def test_by_source_address_a_host_stays_with_one_instance_and_so_does_a_client_of_a_gateway(crowd: Mesh) -> None:
    serve(crowd, *everybody(crowd), balance=compiled.RingHash(compiled.SourceKey()))
    assert len(spread(crowd, 80)) == 1
    assert len({body for _, body in said(crowd.gateway(), 20)}) == 1


def test_the_zone_keeps_what_its_health_says_and_the_rest_spills(crowd: Mesh) -> None:
    zones = {"api-1": "a", "api-2": "a", "api-3": "b", "api-4": "b"}
    near_ones = [instance(crowd, name, zone=zone) for name, zone in zones.items()]
    prefer = {"zone": compiled.ZonePreference(70.0), "balance": "random"}
    serve(crowd, *near_ones, **prefer)
    assert spread(crowd, 160).keys() == {"api-1", "api-2"}
    half = [near_ones[0], replace(near_ones[1], state="down"), *near_ones[2:]]
    before = [zone_requests(crowd, zone) for zone in ("same", "other")]
    more(crowd, *half, **prefer)
    found = spread(crowd, 800)
    assert near(found["api-1"], 800, 50 / 70), found
    assert "api-2" not in found
    counted = [zone_requests(crowd, zone) for zone in ("same", "other")]
    assert [now - then for now, then in zip(counted, before, strict=True)] == [found["api-1"], 800 - found["api-1"]]
    stays = total(crowd.engine, "weft_zone_stays_percent", "weft_zone_stays_percent", destination="default/api")
    assert abs(stays - 71.4) < 0.1
    more(crowd, *(replace(one, state="down") if one.zone == "a" else one for one in near_ones), **prefer)
    assert spread(crowd, 160).keys() == {"api-3", "api-4"}


def zone_requests(mesh: Mesh, zone: str) -> float:
    labels = {"destination": "default/api", "zone": zone}
    return total(mesh.engine, "weft_zone_requests", "weft_zone_requests_total", **labels)


def test_who_is_new_starts_slowly_and_nobody_does_at_the_start(crowd: Mesh) -> None:
    slowly = {"slow_start_ms": 600_000, "balance": "random"}
    first = [instance(crowd, name) for name in INSTANCES[:3]]
    serve(crowd, *first, **slowly)
    found = spread(crowd, 480)
    assert all(near(found[name], 480, 1 / 3) for name in INSTANCES[:3]), found
    more(crowd, *first, instance(crowd, "api-4"), **slowly)
    found = spread(crowd, 960)
    assert near(found["api-4"], 960, 0.1 / 3.1), found
    more(crowd, *everybody(crowd), balance="random")
    assert near(spread(crowd, 480)["api-4"], 480, 1 / 4)


def ejections(mesh: Mesh, **labels: str) -> float:
    return total(mesh.engine, "weft_ejections", "weft_ejections_total", destination="default/api", **labels)


def test_failures_in_a_row_eject_once_however_many_workers_saw_them(crowd: Mesh) -> None:
    serve(crowd, *everybody(crowd), balance="round_robin", outlier=Outlier(consecutive=5, success_below=0.0))
    crowd.applications["api-3"].script = says("api-3", status=500)
    before = ejections(crowd)
    with ThreadPoolExecutor(WIRES) as pool:
        answered = [one for part in pool.map(lambda _: said(crowd.outbound(), 40), range(WIRES)) for one in part]
    bad = sum(status == 500 for status, _ in answered)
    assert 5 <= bad <= 5 + WIRES, "those under way when it is ejected, and no more"
    assert ejections(crowd) - before == 1
    assert ejections(crowd, change="ejected", cause="consecutive") >= 1


def test_too_few_successes_eject_and_are_counted(crowd: Mesh) -> None:
    serve(crowd, *everybody(crowd), balance="round_robin", outlier=Outlier(consecutive=0, success_below=80.0))
    before = ejections(crowd, change="ejected", cause="success")
    crowd.applications["api-2"].script = says("api-2", status=503)
    with connected(crowd.outbound()) as wire:

        def asks() -> bool:
            wire.send(get())
            wire.until(1)
            return ejections(crowd, change="ejected", cause="success") > before

        eventually(asks, "nobody is ejected")
    assert spread(crowd, 160).keys() == {"api-1", "api-3", "api-4"}
    assert ejections(crowd, change="ejected", cause="success") - before == 1


def test_who_is_much_slower_than_its_peers_is_ejected_where_asked_for(crowd: Mesh) -> None:
    crowd.applications["api-4"].script = says("api-4", after=0.08)
    slow = Outlier(consecutive=0, success_below=0.0, latency_factor=4.0)
    serve(crowd, *everybody(crowd), balance="round_robin", outlier=slow)
    before = ejections(crowd)
    with connected(crowd.outbound()) as wire:

        def asks() -> bool:
            wire.send(get())
            wire.until(1)
            return ejections(crowd, change="ejected", cause="latency") > 0

        eventually(asks, "nobody is ejected")
    assert spread(crowd, 160).keys() == {"api-1", "api-2", "api-3"}
    assert ejections(crowd) - before == 1


def test_with_most_of_them_ejected_all_are_used_and_that_is_told(crowd: Mesh) -> None:
    most = Outlier(consecutive=1, success_below=0.0, max_ejected=100.0, eject_ms=60_000)
    serve(crowd, *everybody(crowd), balance="random", outlier=most)
    for name in INSTANCES[1:]:
        crowd.applications[name].script = says(name, status=500)
    eventually(lambda: bool(said(crowd.outbound(), 40)) and panics(crowd), "no panic")
    for name in INSTANCES[1:]:
        crowd.applications[name].script = says(name)
        crowd.applications[name].hang_up()
    assert spread(crowd, 320).keys() == set(INSTANCES)
    assert total(crowd.engine, "weft_panic_requests", "weft_panic_requests_total", destination="default/api") > 0


def panics(mesh: Mesh) -> bool:
    return total(mesh.engine, "weft_panic", "weft_panic", destination="default/api") == 1


def test_a_lost_host_costs_one_try_and_is_back_when_it_can_be_connected_to(crowd: Mesh) -> None:
    quick = Outlier(consecutive=5, success_below=0.0, eject_ms=300)
    serve(crowd, *everybody(crowd), balance="round_robin", outlier=quick, retry=Retry(max=1, backoff_base_ms=1))
    spread(crowd, 80)
    other = crowd.hosts[1]
    other.writer.wait(lambda: other.writer.client.served is not None)
    before = {cause: ejections(crowd, change="ejected", cause=cause) for cause in ("connect", "consecutive", "probe")}
    tried = total(crowd.engine, "weft_retries", "weft_retries_total", outcome="tried")
    other.engine.kill()
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        assert {status for status, _ in said(crowd.outbound(), 20)} == {200}
    now = total(crowd.engine, "weft_retries", "weft_retries_total", outcome="tried")
    # Connections that were open when it died are tried again once each, and one new one by each of those at once.
    assert now - tried <= 4 * WIRES, "no request is spent on asking whether it is back"
    connects = ejections(crowd, change="ejected", cause="connect") - before["connect"]
    assert connects >= 2, "it was asked, and stays out"
    assert ejections(crowd, change="ejected", cause="consecutive") == before["consecutive"]
    other.engine.start()
    eventually(lambda: spread(crowd, 40).keys() == set(INSTANCES), "it does not come back")
    soon(ejections(crowd, change="returned", cause="host"), crowd.engine, "weft_ejections", "weft_ejections_total",
         destination="default/api", change="returned", cause="host")  # fmt: skip


def test_a_suspect_is_ejected_at_its_first_failure(crowd: Mesh) -> None:
    suspect = [instance(crowd, "api-1"), instance(crowd, "api-2", suspect=True)]
    serve(crowd, *suspect, balance="round_robin", outlier=replace(NEVER, eject_ms=60_000), retry=Retry(max=1))
    assert spread(crowd, 80).keys() == {"api-1", "api-2"}
    before = ejections(crowd)
    crowd.applications["api-2"].script = says("api-2", status=500)
    crowd.applications["api-2"].hang_up()
    answered = [body for _, body in said(crowd.outbound(), 40)]
    assert answered.count("api-2") == 1
    assert ejections(crowd) - before == 1


def test_failover_goes_to_the_other_service_under_its_own_access_and_comes_back(crowd: Mesh) -> None:
    crowd.applications["guarded-1"].script = says("guarded-1")
    crowd.services[GUARDED] = Service(access=Access(rules=(Rule("open", "allow", methods=("GET",)),)))
    outlier = Outlier(consecutive=1, success_below=0.0, max_ejected=100.0, eject_ms=400)
    traffic = {"outlier": outlier, "failover": (str(GUARDED),), "retry": Retry(max=1, backoff_base_ms=1)}
    serve(crowd, instance(crowd, "api-2"), **traffic)
    assert spread(crowd, 40).keys() == {"api-2"}
    crowd.applications["api-2"].die()
    # One after another: of many that fail at once, the budget lets three be tried again.
    assert set(said(crowd.outbound(), 80)) == {(200, "guarded-1")}, "none fails, not even the first"
    assert sent(crowd, "default/guarded", "200") >= 80
    assert total(crowd.engine, "weft_failovers", "weft_failovers_total", destination="default/api") >= 80
    with connected(crowd.outbound()) as wire:
        wire.send(get(method="POST", body=b"x"))
        (response,) = wire.until(1, b"POST")
    assert (response.status, response.reason) in {(403, "denied"), (503, "connect_failed"), (502, "reset")}
    crowd.applications["api-2"].live()
    crowd.applications["api-2"].script = says("api-2")
    eventually(lambda: spread(crowd, 40).keys() == {"api-2"}, "it does not come back")
    more(crowd, **traffic)
    assert spread(crowd, 40).keys() == {"guarded-1"}, "with no instance at all too"
    crowd.endpoints[GUARDED] = ()
    crowd.publish()
    assert said(crowd.outbound(), 1)[0][0] == 503


def test_two_services_stand_in_for_each_other(crowd: Mesh) -> None:
    outlier = Outlier(consecutive=1, success_below=0.0, max_ejected=100.0, eject_ms=400)
    traffic = {"outlier": outlier, "retry": Retry(max=1, backoff_base_ms=1)}
    here, there = crowd.applications["api-2"], crowd.applications["guarded-1"]
    there.script = says("guarded-1")
    crowd.services[GUARDED] = Service(traffic=Traffic(**traffic, failover=(str(API),)))  # type: ignore[arg-type]
    serve(crowd, instance(crowd, "api-2"), **traffic, failover=(str(GUARDED),))
    assert spread(crowd, 20).keys() == {"api-2"}
    here.die()
    # One after another: of many that fail at once, the budget lets three be tried again.
    assert set(said(crowd.outbound(), 20)) == {(200, "guarded-1")}
    there.die()
    assert {status for status, _ in said(crowd.outbound(), 20)} <= {502, 503}, "nobody is left, and that is an answer"
    here.live()
    here.script = says("api-2")
    eventually(lambda: set(said(crowd.outbound(), 20)) == {(200, "api-2")}, "it does not come back")
    crowd.endpoints[API] = crowd.endpoints[GUARDED] = ()
    crowd.publish()
    assert said(crowd.outbound(), 1)[0][0] == 503


def sent(mesh: Mesh, destination: str, code: str) -> float:
    labels = {"direction": "outbound", "destination": destination, "code": code}
    return total(mesh.engine, "weft_requests", "weft_requests_total", **labels)
