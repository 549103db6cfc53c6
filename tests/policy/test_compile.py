"""What follows from documents: layers, ties, last good versions, and what is said to their authors."""

from __future__ import annotations

import pytest

from policy import compiled
from policy.compile import Compilation, ServiceFacts, compile_documents
from policy.selection import Stored
from registry.keys import DocumentKey
from registry.model import Protocol
from registry.names import ServiceName
from registry.store import Revision
from tests.policy.writing import API, SERVICES, WEB, api, compile_, stored

EVERYTHING = """{service: api, rules: [{
  name: all,
  match: [{path: {prefix: /a}, methods: [GET], headers: {X-A: b, c: {regex: d+}, e: {present: true}}, from: [web, other/*]}],
  to: [{service: api, labels: {version: v1}, weight: 9}, other/api], on_empty: fail,
  timeout: 2s, retry: {max: 2, retry_on: [reset, gateway-error, "429", unavailable, resource-exhausted], methods: [POST], per_try_timeout: 1s, backoff: {base: 5ms, max: 50ms}},
  request_headers: {set: {X-B: c}, add: {x-c: d}, remove: [Cookie]}, response_headers: {remove: [server]},
  rewrite: {path_prefix: /b, host: b.c}, allow_encoded_slash: true}]}"""


def state(compilation: Compilation, document: Stored) -> tuple[str, str]:
    status = compilation.statuses[document.key]
    return status.state, status.in_force


def codes(compilation: Compilation, document: Stored) -> list[str]:
    return [problem.code for problem in compilation.statuses[document.key].errors]


def notes(compilation: Compilation, document: Stored) -> list[tuple[str, str]]:
    return [(note.code, note.path) for note in compilation.statuses[document.key].notes]


def test_a_rule_compiles_to_everything_it_says() -> None:
    assert api(compile_(stored("Route", EVERYTHING))).routes == (
        compiled.Route(
            name="one/all",
            rank=0,
            action=compiled.Forward(
                to=(
                    compiled.Target("shop/api", weight=9, labels={"version": "v1"}),
                    compiled.Target("other/api"),
                ),
                on_empty="fail",
                rewrite=compiled.Rewrite("/b", "b.c"),
            ),
            matches=(
                compiled.Match(
                    path=compiled.Prefix("/a"),
                    methods=("GET",),
                    headers={"x-a": compiled.Exact("b"), "c": compiled.Regex("d+"), "e": compiled.Present(True)},
                    callers=("shop/web", "other/*"),
                ),
            ),
            timeout_ms=2_000,
            retry=compiled.Retry(
                max=2,
                undelivered=False,
                reset=True,
                statuses=(429, 502, 503, 504),
                grpc_statuses=(8, 14),
                methods=("POST",),
                per_try_timeout_ms=1_000,
                backoff_base_ms=5,
                backoff_max_ms=50,
            ),
            request_headers=compiled.HeaderEdits(set={"x-b": "c"}, add={"x-c": "d"}, remove=("cookie",)),
            response_headers=compiled.HeaderEdits(remove=("server",)),
            allow_encoded_slash=True,
        ),
    )


def test_a_rule_that_says_nothing_goes_to_the_service_itself() -> None:
    (route,) = api(compile_(stored("Route", "{service: api, rules: [{}]}"))).routes
    assert route == compiled.Route(name="one/1", rank=0, action=compiled.Forward(to=(compiled.Target("shop/api"),)))


@pytest.mark.parametrize(
    ("rule", "action"),
    [
        ("{redirect: {scheme: https, code: 301}}", compiled.Redirect(scheme="https", code=301)),
        ("{redirect: {host: a.b, path: /c}}", compiled.Redirect(host="a.b", path="/c")),
        ("{respond: {code: 503, body: closed}}", compiled.Respond(503, "closed")),
    ],
)
def test_a_rule_may_answer_by_itself(rule: str, action: compiled.Redirect | compiled.Respond) -> None:
    assert api(compile_(stored("Route", f"{{service: api, rules: [{rule}]}}"))).routes[0].action == action


def test_traffic_compiles_to_everything_it_says() -> None:
    spec = """{service: api, balance: round_robin, connect_timeout: 2s, timeout: 3s, idle_timeout: 4s, stream_idle: 5s,
      capacity: {connections: 6, pending: 7, requests: 8}, retry_budget: {ratio: 9%, min: 10},
      outlier: {consecutive: 11, success_below: 12%, eject: 13s, max_ejected: 14%}, retry: {max: 0}}"""
    assert api(compile_(stored("Traffic", spec))).traffic == compiled.Traffic(
        balance="round_robin",
        connect_timeout_ms=2_000,
        timeout_ms=3_000,
        idle_timeout_ms=4_000,
        stream_idle_ms=5_000,
        retry=compiled.Retry(max=0),
        capacity=compiled.Capacity(6, 7, 8),
        retry_budget=compiled.RetryBudget(9.0, 10),
        outlier=compiled.Outlier(11, 12.0, 13_000, 14.0),
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("least_request", "least_request"),
        ("{ring_hash: {header: X-User}}", compiled.RingHash(compiled.HeaderKey("x-user"))),
        ("{ring_hash: {query: user}}", compiled.RingHash(compiled.QueryKey("user"))),
        ("{maglev: {cookie: sid}}", compiled.Maglev(compiled.MaglevTable(compiled.CookieKey("sid"), 65_537))),
        (
            "{maglev: {source_address: true, table_size: 655373}}",
            compiled.Maglev(compiled.MaglevTable(compiled.SourceKey(), 655_373)),
        ),
    ],
)
def test_a_balancer_compiles_to_what_the_engine_reads(said: str, expected: compiled.Balance) -> None:
    traffic = api(compile_(stored("Traffic", f"{{service: api, balance: {said}}}"))).traffic
    assert traffic == compiled.Traffic(balance=expected)
    assert compiled.decode(
        compiled.Service, compiled.encode(compiled.Service(traffic=traffic), source_revision=Revision(1))
    )[0] == compiled.Service(traffic=traffic)


def test_zone_slow_start_and_latency_compile_and_a_service_may_take_the_zone_back() -> None:
    mesh = stored(
        "Defaults",
        "{traffic: {zone: {prefer: same, spill_below: 50%}, slow_start: 30s, outlier: {latency_factor: 3}}}",
        namespace="mesh",
    )
    found = api(compile_(mesh, stored("Traffic", "{service: api}"))).traffic
    assert (found.zone, found.slow_start_ms) == (compiled.ZonePreference(50.0), 30_000)
    assert found.outlier == compiled.Outlier(latency_factor=3.0)
    found = api(compile_(mesh, stored("Traffic", "{service: api, zone: {prefer: any}, slow_start: 0s}"))).traffic
    assert (found.zone, found.slow_start_ms) == (None, 0)
    found = api(compile_(mesh, stored("Traffic", "{service: api, zone: {prefer: same}}"))).traffic
    assert found.zone == compiled.ZonePreference(50.0)
    assert api(
        compile_(stored("Traffic", "{service: api, zone: {prefer: same}}"))
    ).traffic.zone == compiled.ZonePreference(70.0)


def test_each_layer_changes_only_what_it_says() -> None:
    mesh = stored(
        "Defaults",
        "{traffic: {timeout: 10s, connect_timeout: 2s, capacity: {pending: 5}}, retry: {max: 5, backoff: {base: 1ms}}}",
        namespace="mesh",
    )
    shop = stored("Defaults", "{traffic: {timeout: 9s, capacity: {requests: 6}}, retry: {max: 4}}")
    traffic = stored("Traffic", "{service: api, timeout: 8s, retry: {max: 3, per_try_timeout: 1s}}")
    route = stored("Route", "{service: api, rules: [{timeout: 7s}, {retry: {max: 2}}]}")
    found = api(compile_(mesh, shop, traffic, route))
    assert found.traffic == compiled.Traffic(
        timeout_ms=8_000,
        connect_timeout_ms=2_000,
        capacity=compiled.Capacity(pending=5, requests=6),
        retry=compiled.Retry(max=3, backoff_base_ms=1, per_try_timeout_ms=1_000),
    )
    assert [(rule.timeout_ms, rule.retry.max, rule.retry.per_try_timeout_ms) for rule in found.routes] == [
        (7_000, 3, 1_000),
        (8_000, 2, 1_000),
    ]
    without = api(compile_(mesh, shop, route))
    assert [(rule.timeout_ms, rule.retry.max) for rule in without.routes] == [(7_000, 4), (9_000, 2)]


def test_a_backoff_is_bounded_by_at_least_its_base() -> None:
    (rule,) = api(compile_(stored("Route", "{service: api, rules: [{retry: {backoff: {base: 1s}}}]}"))).routes
    assert (rule.retry.backoff_base_ms, rule.retry.backoff_max_ms) == (1_000, 1_000)


def test_the_mesh_key_holds_every_base() -> None:
    found = compile_(
        stored("Defaults", "{access: deny, traffic: {timeout: 9s}}", namespace="mesh"),
        stored("Defaults", "{access: allow, retry: {max: 0}}", namespace="shop"),
    )
    assert found.mesh.base == compiled.Base(compiled.Traffic(timeout_ms=9_000), "deny")
    assert found.mesh.service("elsewhere", "http").access.default == "deny"
    shop = found.mesh.service("shop", "http")
    assert (shop.access.default, shop.traffic.timeout_ms, shop.traffic.retry.max) == ("allow", 9_000, 0)
    assert found.services == {}


def test_access_documents_add_up_and_keep_their_shadow() -> None:
    spec = "{service: api, rules: [{name: r, allow: {from: [web, 'gateway:edge'], methods: [GET]}}, {deny: {paths: [{prefix: /x}]}}]}"
    shadow = "{service: api, mode: shadow, rules: [{deny: {from: ['*']}}]}"
    found = compile_(stored("Access", shadow, name="b", created=2), stored("Access", spec, name="a", created=3))
    assert api(found).access == compiled.Access(
        default="allow",
        rules=(
            compiled.Rule("b/1", "deny", shadow=True, callers=("*",)),
            compiled.Rule("a/r", "allow", callers=("shop/web", "gateway:edge"), methods=("GET",)),
            compiled.Rule("a/2", "deny", paths=(compiled.Prefix("/x"),)),
        ),
    )


def test_ranks_follow_the_age_of_documents_then_their_names() -> None:
    rules = "{service: api, rules: [{name: x}, {name: y}]}"
    found = compile_(
        stored("Route", rules, name="b", created=2),
        stored("Route", rules, name="c", created=1),
        stored("Route", rules, name="a", created=2),
    )
    assert [route.name for route in sorted(api(found).routes, key=lambda route: route.rank)] == [
        "c/x", "c/y", "a/x", "a/y", "b/x", "b/y",
    ]  # fmt: skip


def test_of_two_traffic_documents_the_older_stands_and_the_newer_names_it() -> None:
    newer = stored("Traffic", "{service: api, timeout: 1s}", name="a", created=2)
    older = stored("Traffic", "{service: api, timeout: 2s}", name="b", created=1)
    found = compile_(newer, older)
    assert api(found).traffic.timeout_ms == 2_000
    assert state(found, older) == ("accepted", "current")
    assert state(found, newer) == ("shadowed", "none")
    assert codes(found, newer) == ["WEFT0301"]
    assert "shop/traffic/b" in found.statuses[newer.key].errors[0].message


def test_of_two_defaults_of_a_namespace_the_older_stands() -> None:
    found = compile_(
        stored("Defaults", "{access: deny}", name="a", created=2), stored("Defaults", "{access: allow}", name="b")
    )
    assert found.mesh.namespaces["shop"].access == "allow"


def test_a_shadowed_change_leaves_what_the_document_said_before() -> None:
    older = stored("Traffic", "{service: api}", name="a")
    moved = stored("Traffic", "{service: api, timeout: 1s}", good="{service: web, timeout: 2s}", created=2, modified=5)
    found = compile_(older, moved)
    assert state(found, moved) == ("shadowed", "last-good")
    assert found.services[WEB].traffic.timeout_ms == 2_000


def test_a_broken_document_leaves_its_last_good_version_in_force() -> None:
    broken = stored("Route", "{service: api, rulez: []}", good="{service: api, rules: [{timeout: 3s}]}", modified=7)
    found = compile_(broken)
    assert api(found).routes[0].timeout_ms == 3_000
    assert state(found, broken) == ("rejected", "last-good")
    assert found.statuses[broken.key].revision == 7
    assert found.accepted == ()


def test_a_broken_document_without_a_good_version_costs_itself_only() -> None:
    good = stored("Route", "{service: api, rules: [{timeout: 3s}]}", name="good")
    broken = stored("Route", "{service: api, rules: [{timeout: 3}]}", name="broken")
    found = compile_(good, broken)
    assert len(api(found).routes) == 1
    assert state(found, broken) == ("rejected", "none")
    assert found.accepted == (good,)


def test_a_held_document_waits_and_the_last_good_one_stays() -> None:
    held = stored(
        "Route", "{service: api, rules: [{timeout: 4s}]}", good="{service: api, rules: [{timeout: 3s}]}", held=True
    )
    found = compile_(held)
    assert api(found).routes[0].timeout_ms == 3_000
    assert state(found, held) == ("incomplete", "last-good")
    assert codes(found, held) == ["WEFT0307"]


def test_a_broken_access_that_never_was_good_closes_its_service() -> None:
    broken = stored("Access", "{service: api, rulez: []}", name="broken")
    other = stored("Access", "{service: api, rules: [{allow: {from: [web]}}]}", name="other")
    found = compile_(broken, other)
    assert api(found).access == compiled.Access("deny", (compiled.Rule("other/1", "allow", callers=("shop/web",)),))
    assert codes(found, broken)[-1] == "WEFT0305"
    assert api(compile_(broken)).access == compiled.Access("deny", ())


def test_a_broken_access_with_a_good_version_closes_nothing() -> None:
    found = compile_(
        stored("Access", "{service: api, rulez: []}", good="{service: api, rules: [{allow: {from: [web]}}]}")
    )
    assert api(found).access.default == "allow"


def test_a_broken_access_in_shadow_closes_nothing() -> None:
    assert compile_(stored("Access", "{service: api, mode: shadow, rulez: []}")).services == {}


def test_a_broken_access_whose_target_cannot_be_read_alarms() -> None:
    broken = Stored(DocumentKey("shop", "access", "one"), b"service: api: [", 1, 1)
    found = compile_(broken)
    assert found.services == {}
    assert codes(found, broken) == ["WEFT0003", "WEFT0306"]


def test_a_gateway_gets_its_routes_with_their_hosts() -> None:
    listeners = "{listeners: [{name: http, port: 80, protocol: http, hosts: ['*']}], hosts_with: {role: edge}}"
    found = compile_(
        stored("Gateway", listeners, name="edge", namespace="mesh"),
        stored("Route", "{gateway: edge, hosts: [a.b], rules: [{to: [api]}, {to: [web, api]}]}", name="r"),
        stored("Route", "{gateway: edge, hosts: ['*', c.d], rules: [{to: [other/api]}]}", name="s", created=2),
        stored("Traffic", "{service: api, timeout: 3s}"),
        stored("Defaults", "{gateway: {max_body: 1kB}, traffic: {timeout: 4s}}", namespace="mesh"),
    )
    edge = found.gateways["edge"]
    assert [(route.name, route.rank, route.hosts, route.timeout_ms) for route in edge.routes] == [
        ("shop/r/1", 0, ("a.b",), 3_000),
        ("shop/r/2", 1, ("a.b",), 4_000),
        ("shop/s/1", 2, (), 4_000),
    ]
    assert edge.listeners == {"http": compiled.GatewayListener(80, "http")}
    assert (edge.hosts_with, edge.max_body) == ({"role": "edge"}, 1_000)


def test_a_gateway_route_without_its_gateway_waits_and_says_so() -> None:
    route = stored("Route", "{gateway: edge, hosts: [a.b], rules: [{to: [api]}]}")
    found = compile_(route)
    assert (found.gateways, found.services) == ({}, {})
    assert state(found, route) == ("accepted", "current")
    assert notes(found, route) == [("WEFT0303", "spec.gateway")]
    assert found.statuses[route.key].applies_to == ("gateway:edge",)


def test_a_document_that_matches_nothing_is_accepted_and_says_so() -> None:
    route = stored(
        "Route", "{service: later, rules: [{to: [nowhere, {service: api, labels: {colour: blue, version: v2}}]}]}"
    )
    found = compile_(route)
    assert ServiceName("shop", "later") in found.services
    assert notes(found, route) == [
        ("WEFT0302", "spec.service"),
        ("WEFT0304", "spec.rules[0].to[0]"),
        ("WEFT0308", "spec.rules[0].to[1].labels.colour"),
    ]


def test_a_service_that_is_gone_keeps_its_protocol_and_counts_as_not_registered() -> None:
    route = stored("Route", "{service: api, rules: [{}]}")
    found = compile_documents([route], {API: ServiceFacts(Protocol.GRPC, registered=False)})
    assert api(found).protocol == "grpc"
    assert notes(found, route) == [("WEFT0302", "spec.service")]


def test_a_status_says_what_it_applies_to() -> None:
    documents = {
        stored("Route", "{service: api, rules: [{}]}"): ("shop/api",),
        stored("Defaults", "{access: deny}"): ("shop/*",),
        stored("Defaults", "{access: deny}", namespace="mesh"): ("*",),
        stored("Gateway", "{listeners: [{name: a, port: 1, protocol: http}]}", name="edge", namespace="mesh"): (
            "gateway:edge",
        ),
    }
    found = compile_documents(list(documents), SERVICES)
    assert {document: found.statuses[document.key].applies_to for document in documents} == documents


def test_deleting_a_document_takes_it_back() -> None:
    kept = stored("Traffic", "{service: api, timeout: 1s}")
    gone = stored("Route", "{service: api, rules: [{}]}")
    assert api(compile_(kept, gone)).routes
    assert api(compile_(kept)).routes == ()
    assert compile_(gone).services != compile_().services == {}
