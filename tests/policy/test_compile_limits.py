"""Limits and faults: what is compiled of them, and what is told."""

from __future__ import annotations

import pytest

from policy import compiled, durations
from policy.compile import Compilation, ServiceFacts, compile_documents
from policy.selection import Stored
from registry.model import Protocol
from registry.names import ServiceName
from tests.policy.writing import API, SERVICES, api, compile_, stored

DB = ServiceName("shop", "db")
NOON = durations.epoch_ms("2027-01-15T12:00:00Z")
DAY = 86_400
GATEWAY = stored("Gateway", "{listeners: [{name: web, port: 80, protocol: http}]}", name="edge", namespace="mesh")


def at(seconds: float, *documents: Stored) -> Compilation:
    """Compiled so many seconds after noon."""
    return compile_documents(documents, {**SERVICES, DB: ServiceFacts(Protocol.TCP)}, now=NOON / 1_000 + seconds)


def fault(until: str, more: str = "abort: 503", *, good: str | None = None) -> Stored:
    spec = f'{{service: api, until: "{until}", {more}}}'
    return stored("Fault", spec, good=good)


def codes(found: Compilation, document: Stored) -> list[str]:
    status = found.statuses[document.key]
    return [problem.code for problem in (*status.errors, *status.notes)]


def test_limits_of_a_service_add_up() -> None:
    first = stored(
        "Limit",
        "{service: api, rules: [{match: [{path: {prefix: /s}, from: [web]}], by: caller, rate: 90/m}]}",
        name="a",
    )
    second = stored(
        "Limit",
        "{service: api, rules: [{name: all, rate: 50/s, burst: 7, concurrency: 3, scope: mesh}]}",
        name="b",
        created=2,
    )
    found = compile_(second, first)
    match = compiled.Match(path=compiled.Prefix("/s"), callers=("shop/web",))
    assert api(found).limits == (
        compiled.Limit("a/1", (match,), "caller", rate=90, window_ms=60_000, burst=1),
        compiled.Limit("b/all", (), "everybody", rate=50, burst=7, concurrency=3, scope="mesh"),
    )
    assert found.statuses[first.key].applies_to == ("shop/api",)


def test_the_burst_of_a_rate_is_a_second_of_it() -> None:
    found = compile_(stored("Limit", "{service: api, rules: [{rate: 50/s}, {rate: 7200/h}, {concurrency: 4}]}"))
    assert [limit.burst for limit in api(found).limits] == [50, 2, 1]


def test_limits_of_a_gateway_are_its_own() -> None:
    limit = stored("Limit", "{gateway: edge, rules: [{by: address, rate: 10/s}]}", namespace="mesh")
    found = compile_(GATEWAY, limit)
    assert [(one.name, one.by) for one in found.gateways["edge"].limits] == [("one/1", "address")]
    assert found.statuses[limit.key].applies_to == ("gateway:edge",)
    assert codes(compile_(limit), limit) == ["WEFT0303"]


def test_a_fault_is_compiled_whatever_the_time_and_told_when_it_is_over() -> None:
    document = fault("2027-01-15T18:00:00Z", "delay: 300ms, fraction: 5%, match: [{from: [web]}]")
    before, after = at(0, document), at(6 * 3_600, document)
    expected = compiled.Fault(
        "shop/one", NOON + 6 * 3_600_000, (compiled.Match(callers=("shop/web",)),), percent=5.0, delay_ms=300
    )
    assert api(before).faults == api(after).faults == (expected,)
    assert (codes(before, document), codes(after, document)) == ([], ["WEFT0311"])
    assert (before.next_end, after.next_end) == (NOON / 1_000 + 6 * 3_600, None)
    assert after.statuses[document.key].state == "accepted"


def test_a_fault_that_ends_too_late_is_rejected_and_what_it_said_before_stays() -> None:
    good = '{service: api, until: "2027-01-16T00:00:00Z", abort: 500}'
    document = fault("2027-01-22T12:00:01Z", good=good)
    found = at(0, document)
    assert codes(found, document) == ["WEFT0310"]
    assert [one.abort for one in api(found).faults] == [500]
    assert "2027-01-22T12:00:00Z" in found.statuses[document.key].errors[0].message
    assert codes(at(0, fault("2027-01-22T12:00:00Z")), document) == []


@pytest.mark.parametrize("looks", ["path: {prefix: /}", "methods: [GET]", "headers: {a: b}"])
def test_what_looks_at_requests_matches_no_connection(looks: str) -> None:
    limit = stored("Limit", f"{{service: db, rules: [{{rate: 5/s, match: [{{from: [web]}}, {{{looks}}}]}}]}}", name="a")
    only = stored("Limit", f"{{service: db, rules: [{{rate: 5/s, match: [{{{looks}}}]}}]}}", name="b", created=2)
    broken = stored(
        "Fault", f'{{service: db, abort: 500, match: [{{{looks}}}], until: "2027-01-15T18:00:00Z"}}', created=3
    )
    found = at(0, limit, only, broken)
    assert [one.matches for one in found.services[DB].limits] == [(compiled.Match(callers=("shop/web",)),)]
    assert found.services[DB].faults == ()
    assert [codes(found, document) for document in (limit, only, broken)] == [["WEFT0309"]] * 3


def test_a_service_that_only_a_limit_or_a_fault_names_is_compiled() -> None:
    assert api(compile_(stored("Limit", "{service: api, rules: [{rate: 5/s}]}"))).traffic == compiled.Traffic()
    assert API in at(0, fault("2027-01-15T18:00:00Z")).services
