"""What is explained is what the evaluator says, put together from both engines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from ops.explain import doors
from ops.explain.doors import Door, NoDoorError, UnknownCallerError
from ops.explain.evaluator import Evaluator, evaluating
from ops.explain.explanation import Explanation, Request, explain
from ops.explain.stored import StoredMesh
from ops.explain.text import lines
from ops.explain.values import ROWS
from policy import compiled
from policy.apply import Prepared
from policy.provenance import Provenance, leaves
from proxy import sections
from registry.keys import DocumentKey
from registry.names import ServiceName
from tests.ops.explain.mesh import API, CRON, DB, WEB, document, stored
from tests.support.engine import engine_binary


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    """The engine's own."""
    with evaluating(engine_binary()) as evaluator:
        yield evaluator


def at_service(mesh: StoredMesh, caller: ServiceName, service: ServiceName = API) -> Door:
    return doors.of_service([mesh.host([(caller, service)])], service, caller=str(caller))


def asked(
    evaluator: Evaluator, door: Door, request: Request | None = None, *, mesh: StoredMesh | None = None
) -> Explanation:
    known = Provenance((mesh or stored()).documents)
    return explain(evaluator.ask, door, request or Request(), known=known)


def settings(found: Explanation) -> dict[str, tuple[str, str]]:
    return {one.name: (one.value, str(one.origin)) for one in found.settings}


def test_a_request_is_forwarded_by_the_service_itself_where_no_rule_matches(evaluator: Evaluator) -> None:
    found = asked(evaluator, at_service(stored(), WEB))
    assert (found.outcome, found.route, found.caller, found.service) == ("forward", "", "shop/web", "shop/api")
    (share,) = found.to
    assert [(one.instance, one.state) for one in share.candidates] == [("api-1", "up"), ("api-2", "up")]
    assert [(one.instance, one.state) for one in share.others] == [("api-3", "down")]
    assert share.access is not None
    assert share.access.because == "api/web"
    assert share.limits == ("api/all: 50/s, burst 50 by caller",)
    assert settings(found)["timeout"] == ("4s", "shop/traffic/api")
    assert settings(found)["retry.max"] == ("1", "built in")


def test_a_rule_that_wins_is_named_with_its_instances_and_its_values(evaluator: Evaluator) -> None:
    found = asked(evaluator, at_service(stored(), WEB), Request("GET", "/v2/x", (("x-canary", "yes"),)))
    assert found.route == "split/canary"
    assert [one.instance for one in found.to[0].candidates] == ["api-2"]
    assert [(one.instance, one.state) for one in found.to[0].others] == [
        ("api-1", "version=v1"),
        ("api-3", "version=v1"),
    ]
    assert settings(found)["timeout"] == ("2s", "shop/route/split, rule canary")
    lost = asked(evaluator, at_service(stored(), WEB), Request("GET", "/v2/x"))
    assert ("split/canary", "header x-canary") in {(one.rule, one.by) for one in lost.tried}


def test_who_may_not_is_refused_by_the_called_side(evaluator: Evaluator) -> None:
    found = asked(evaluator, at_service(stored(), CRON))
    assert (found.outcome, found.status, found.reason) == ("refuse", 403, "denied")
    assert found.detail == "shop/cron may not call shop/api"
    text = list(lines(found))
    assert text[0].startswith("refused 403 denied: GET /, shop/cron to shop/api")
    assert any("api/web allows, does not match: caller" in line for line in text)


def test_an_answer_of_the_engines_own_is_told(evaluator: Evaluator) -> None:
    found = asked(evaluator, at_service(stored(), WEB), Request("GET", "/old/1"))
    assert (found.outcome, found.status, found.route) == ("answer", 410, "split/old")


def test_every_part_of_a_split_is_told_and_who_refuses_it(evaluator: Evaluator) -> None:
    closed = {"shop/access/web": "{service: web, rules: [{deny: {from: ['*']}}]}"}
    mesh = stored({**_documents(), **closed})
    found = asked(evaluator, at_service(mesh, WEB), Request("GET", "/both"), mesh=mesh)
    assert [(one.service, one.percent, one.refused) for one in found.to] == [
        ("shop/api", 75.0, ""),
        ("shop/web", 25.0, "denied"),
    ]


def test_where_nobody_is_left_it_is_refused(evaluator: Evaluator) -> None:
    mesh = stored(instances=())
    found = asked(evaluator, at_service(mesh, WEB), mesh=mesh)
    assert (found.status, found.reason) == (503, "no_endpoint")


def test_a_url_means_the_listener_on_its_port(evaluator: Evaluator) -> None:
    edge = stored().gateway("edge")
    assert edge is not None
    door = doors.of_url([edge], urlsplit("http://shop.test:8080/x"), caller=None)
    found = asked(evaluator, door, Request("GET", "/x"))
    assert (found.outcome, found.caller, found.route) == ("forward", "gateway:edge", "shop/edge/all")
    assert settings(found)["timeout"] == ("4s", "shop/traffic/api")
    other = doors.of_url([edge], urlsplit("http://other.test:8080/x"), caller=None)
    assert asked(evaluator, other).reason == "no_route"
    with pytest.raises(NoDoorError, match=r"0\.0\.0\.0:8080 \(gateway:edge, http\)"):
        doors.of_url([edge], urlsplit("http://shop.test/"), caller=None)


def test_where_tls_is_passed_on_there_is_no_request_to_explain() -> None:
    edge = stored().gateway("edge")
    assert edge is not None
    with pytest.raises(NoDoorError, match="passes TLS on"):
        doors.of_url([edge], urlsplit("https://db.test:5433/"), caller=None)


def test_on_the_open_port_the_host_names_the_service(evaluator: Evaluator) -> None:
    world = stored().host([(WEB, API)])
    listener = compiled.to_plain(sections.Open("127.0.0.1:7501", "shop/web"))
    world = replace(world, snapshot={**world.snapshot, "listener/open": listener})
    door = doors.of_url([world], urlsplit("http://127.0.0.1:7501/old/x"), caller=None)
    (named, rest) = doors.with_default([("Host", "api.weft"), ("x-a", "1")], door)
    assert rest == (("x-a", "1"),)
    found = asked(evaluator, named, Request("GET", "/old/x"))
    assert (found.outcome, found.service, found.route) == ("answer", "shop/api", "split/old")
    assert asked(evaluator, door).reason == "no_route"


def test_a_service_of_bytes_gets_connections(evaluator: Evaluator) -> None:
    closed = stored({**_documents(), "shop/access/db": "{service: db, rules: [{allow: {from: [cron]}}]}"})
    found = asked(evaluator, at_service(closed, WEB, DB), mesh=closed)
    assert (found.outcome, found.reason) == ("refuse", "denied")
    assert next(iter(lines(found))).startswith("refused 403 denied: a connection, shop/web to shop/db")
    assert asked(evaluator, at_service(closed, CRON, DB), mesh=closed).outcome == "forward"


def test_who_is_ejected_is_told(evaluator: Evaluator) -> None:
    door = at_service(stored(), WEB)
    world = replace(door.world, ejected=frozenset({("shop/api", "vm-1", "api-1")}))
    found = asked(evaluator, replace(door, world=world))
    assert [(one.instance, one.state) for one in found.to[0].candidates] == [("api-1", "ejected"), ("api-2", "up")]
    assert any("ejected, and asked only to see whether they answer again: api-1" in line for line in lines(found))


def test_a_caller_of_elsewhere_is_judged_by_the_called_side_alone(evaluator: Evaluator) -> None:
    world = stored().host([(WEB, API)])
    door = doors.of_service([world], API, caller="gateway:edge")
    found = asked(evaluator, door, Request("POST", "/"))
    assert (found.outcome, found.reason) == ("refuse", "denied")
    assert asked(evaluator, door).outcome == "forward"
    assert not any("route" in line.split() for line in lines(found))


def test_who_calls_must_be_said_where_it_does_not_follow() -> None:
    world = stored().host([(WEB, API), (CRON, API)])
    with pytest.raises(UnknownCallerError, match="shop/cron, shop/web call it here"):
        doors.of_service([world], API, caller=None)
    with pytest.raises(NoDoorError, match="there are shop/api, shop/cron, shop/web"):
        doors.of_service([world], ServiceName("shop", "nope"), caller="shop/web")


def test_documents_are_tried_without_being_applied(evaluator: Evaluator) -> None:
    key = DocumentKey("shop", "access", "api")
    spec = "{service: api, rules: [{name: cron, allow: {from: [cron]}}]}"
    tried, statuses = stored().with_documents([Prepared(key, document("shop/access/api", spec), "new.yaml")])
    assert statuses[key].state == "accepted"
    assert asked(evaluator, at_service(tried, WEB), mesh=tried).reason == "denied"
    assert asked(evaluator, at_service(tried, CRON), mesh=tried).outcome == "forward"


def test_a_value_whose_document_is_not_the_one_in_force_has_no_origin(evaluator: Evaluator) -> None:
    changed = Provenance(stored({**_documents(), "shop/traffic/api": "{service: api, timeout: 5s}"}).documents)
    found = explain(evaluator.ask, at_service(stored(), WEB), Request(), known=changed)
    assert settings(found)["timeout"] == ("4s", "None")
    assert any("4s  (documents not seen)" in line for line in lines(found))


def test_every_value_of_traffic_has_a_row() -> None:
    told = [path for _, paths, _ in ROWS for path in paths]
    assert sorted(told) == sorted(path for path, _ in leaves(compiled.Traffic()))


def test_ten_lines_say_it(evaluator: Evaluator) -> None:
    """It is read in ten seconds."""
    found = asked(evaluator, at_service(stored(), WEB), Request("GET", "/v2/x", (("x-canary", "yes"),)))
    assert len(list(lines(found))) <= 10
    assert len(list(lines(found, wide=True))) > 25


def _documents() -> dict[str, str]:
    from tests.ops.explain.mesh import DOCUMENTS

    return dict(DOCUMENTS)
