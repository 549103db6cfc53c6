"""What documents can say of a service that has no requests."""

from __future__ import annotations

import pytest

from policy.compile import Compilation, ServiceFacts, compile_documents
from policy.selection import Stored
from registry.model import Protocol
from registry.names import ServiceName
from tests.policy.writing import stored

DB = ServiceName("shop", "db")
API = ServiceName("shop", "api")
FACTS = {DB: ServiceFacts(Protocol.TCP), API: ServiceFacts(Protocol.HTTP)}


def compile_(*documents: Stored) -> Compilation:
    return compile_documents(documents, FACTS)


def notes(found: Compilation, document: Stored) -> list[tuple[str, str]]:
    return [(note.code, note.path) for note in found.statuses[document.key].notes]


def test_access_by_caller_holds_for_connections() -> None:
    document = stored("Access", "{service: db, rules: [{allow: {from: [api]}}]}")
    found = compile_(document)
    compiled = found.services[DB]
    assert (compiled.protocol, [rule.callers for rule in compiled.access.rules]) == ("tcp", [("shop/api",)])
    assert compiled.access.default == "allow"
    assert notes(found, document) == []


@pytest.mark.parametrize("looks", ["methods: [GET]", "paths: [{prefix: /}]"])
@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_an_access_rule_that_looks_at_requests_matches_nobody_and_opens_nothing(looks: str, decision: str) -> None:
    document = stored("Access", f"{{service: db, rules: [{{{decision}: {{from: [api], {looks}}}}}]}}")
    found = compile_(document)
    assert (found.services[DB].access.default, found.services[DB].access.rules) == ("deny", ())
    assert notes(found, document) == [("WEFT0309", "spec.rules[0]")]


def test_a_rule_in_shadow_that_matches_nobody_closes_nothing() -> None:
    document = stored("Access", "{service: db, mode: shadow, rules: [{allow: {methods: [GET]}}]}")
    found = compile_(document)
    assert (found.services[DB].access.default, found.services[DB].access.rules) == ("allow", ())
    assert notes(found, document) == [("WEFT0309", "spec.rules[0]")]


def test_the_same_rule_of_a_service_with_requests_is_kept() -> None:
    document = stored("Access", "{service: api, rules: [{allow: {methods: [GET]}}]}")
    found = compile_(document)
    assert len(found.services[API].access.rules) == 1
    assert notes(found, document) == []


def test_routes_of_and_to_a_service_without_requests_are_named() -> None:
    own = stored("Route", "{service: db, rules: [{}]}", name="own")
    to = stored("Route", "{service: api, rules: [{to: [db]}]}", name="to")
    found = compile_(own, to)
    assert found.services[DB].routes == ()
    assert notes(found, own) == [("WEFT0309", "spec.service")]
    assert notes(found, to) == [("WEFT0309", "spec.rules[0].to[0]")]
