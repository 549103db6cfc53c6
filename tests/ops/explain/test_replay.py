"""A recording asked again: what is decided otherwise is told, what only the moment decided is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ops.explain.evaluator import Evaluators
from ops.explain.replay import Asking, NotARecordingError, Recording, Replayed, pairs, read, replay
from ops.explain.stored import StoredMesh
from proxy.tap import Filter, header
from tests.ops.explain.mesh import DOCUMENTS, stored
from tests.support.engine import engine_binary

HEAD = header(Filter(), at="2026-11-29T12:00:00Z")


@pytest.fixture(scope="module")
def evaluators() -> Iterator[Evaluators]:
    """The engine's own."""
    with ExitStack() as scope:
        yield Evaluators(engine_binary(), scope)


def record(**told: object) -> str:
    """A line of a recording."""
    base = {"direction": "outbound", "source": "shop/web", "destination": "shop/api", "instance": "api-1", "host": "api",
            "method": "GET", "path": "/", "code": 200}  # fmt: skip
    return json.dumps({**base, **told})


def recording(*lines: str) -> Recording:
    return read([HEAD, *lines])


def asking(evaluators: Evaluators, mesh: StoredMesh, recorded: Recording) -> Asking:
    gateways = [mesh.gateway(name) for name in mesh.gateways]
    worlds = [mesh.host(pairs(recorded, mesh.rules.services)), *(world for world in gateways if world)]
    return Asking.of(evaluators.ask, worlds)


def replayed(
    evaluators: Evaluators, *lines: str, before: StoredMesh | None = None, now: StoredMesh | None = None
) -> Replayed:
    recorded = recording(*lines)
    was = None if before is None else asking(evaluators, before, recorded).fate
    return replay(recorded, before=was, now=asking(evaluators, now or stored(), recorded).fate)


def told(found: Replayed) -> list[tuple[int, str, str]]:
    return [(count, one.was, one.would_be) for one, count in found.differ.items()]


def with_document(key: str, spec: str) -> StoredMesh:
    return stored({**DOCUMENTS, key: spec})


def test_what_would_fare_alike_is_no_difference(evaluators: Evaluators) -> None:
    found = replayed(
        evaluators,
        record(),
        record(path="/old/1", route="split/old", code=410, instance=""),
        record(method="POST", reason="denied", code=403, instance="api-2"),
        record(direction="inbound"),
        record(direction="gateway", source="gateway:edge", route="shop/edge/all", host="shop.test"),
        record(direction="gateway", source="", destination="", host="x.test", reason="no_route", code=404, instance=""),
        record(path="/both", route="split/both", destination="shop/web", instance="web-1"),
    )
    assert (found.asked, told(found), found.unknown) == (7, [], {})


@pytest.mark.parametrize("reason", ["reset", "connect_failed", "overloaded", "limited", "request_timeout", "draining"])
def test_what_only_the_moment_decided_is_no_difference(evaluators: Evaluators, reason: str) -> None:
    assert told(replayed(evaluators, record(reason=reason, code=503))) == []


def test_who_may_not_any_more_is_told_once_for_each_side_and_counted(evaluators: Evaluators) -> None:
    closed = with_document("shop/access/api", "{service: api, rules: [{allow: {from: [cron]}}]}")
    found = replayed(evaluators, record(), record(), record(direction="inbound"), now=closed)
    assert told(found) == [(2, "to shop/api", "refused denied"), (1, "to shop/api", "refused denied")]


def test_another_rule_another_service_and_other_instances_are_told(evaluators: Evaluators) -> None:
    rules = with_document("shop/route/split", "{service: api, rules: [{name: all, to: [web]}]}")
    assert told(replayed(evaluators, record(), now=rules)) == [(1, "to shop/api", "to shop/web, rule split/all")]
    only = with_document(
        "shop/route/split", "{service: api, rules: [{name: all, to: [{service: api, labels: {version: v2}}]}]}"
    )
    found = replayed(evaluators, record(route="split/all"), record(route="split/all", instance="api-2"), now=only)
    assert told(found) == [(1, "to api-1", "to api-2 of shop/api")]


def test_documents_are_compared_with_what_is_stored_now(evaluators: Evaluators) -> None:
    same = replayed(evaluators, record(route="long-gone/1"), before=stored(), now=stored())
    assert (same.asked, told(same)) == (1, [])
    moved = with_document(
        "shop/route/split", "{service: api, rules: [{name: all, to: [{service: api, labels: {version: v2}}]}]}"
    )
    found = replayed(evaluators, record(), record(method="POST"), before=stored(), now=moved)
    assert told(found) == [(1, "to shop/api", "to shop/api, rule split/all")]


def test_a_rule_that_looks_at_what_was_not_recorded_is_not_judged(evaluators: Evaluators) -> None:
    canary = {"route": "split/canary", "path": "/v2/x", "instance": "api-2"}
    found = replayed(evaluators, record(**canary))
    assert (found.asked, list(found.unknown)) == (
        0,
        ["rule split/canary looks at x-canary: record with `weft tap --field x-canary`"],
    )
    assert told(replayed(evaluators, record(**canary, fields={"x-canary": "yes"}))) == []


def test_who_is_not_known_here_is_not_asked_about(evaluators: Evaluators) -> None:
    found = replayed(evaluators, record(direction="inbound", destination="10.0.0.1:5432"), record(source="somebody"))
    assert (found.asked, sum(found.unknown.values())) == (0, 2)


@pytest.mark.parametrize("lines", [["{}"], ["no JSON"], [record()], [HEAD, "{"], [HEAD, "[1]"], ['{"weft_tap": 99}']])
def test_what_is_no_recording_is_refused(lines: list[str]) -> None:
    with pytest.raises(NotARecordingError, match="line"):
        read(lines)
