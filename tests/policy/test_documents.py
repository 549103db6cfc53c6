"""The schema: what every kind accepts, and what it refuses with which code at which path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from policy.documents import Document, identify, parse, target_of
from policy.documents.route import RouteSpec
from registry.keys import DocumentKey
from tests.policy.writing import codes, parsed, text

KEY = DocumentKey("shop", "route", "one")


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Route", "{service: api, rules: [{}]}"),
        ("Route", "{service: api, rules: [{to: [api, other/api, {service: api, labels: {version: v2}, weight: 0}]}]}"),
        ("Route", "{service: api, rules: [{match: [{path: {exact: /a}}, {path: {prefix: /}}, {path: {regex: '/v[0-9]+'}}]}]}"),
        ("Route", "{service: api, rules: [{match: [{headers: {X-A: b, c: {regex: 'd+'}, e: {present: false}}, methods: [GET]}]}]}"),
        ("Route", "{service: api, rules: [{match: [{from: [web, shop/*, '*', 'gateway:edge', 'spiffe://corp/x']}]}]}"),
        ("Route", "{service: api, rules: [{to: [api], on_empty: fail, timeout: 1s, retry: {max: 0}}]}"),
        ("Route", "{service: api, rules: [{retry: {retry_on: [undelivered, reset, gateway-error, retriable-4xx, '503'], methods: [POST]}}]}"),
        ("Route", "{service: api, rules: [{retry: {per_try_timeout: 1s, backoff: {base: 1ms, max: 1s}}}]}"),
        ("Route", "{service: api, rules: [{request_headers: {set: {x-a: b}, add: {x-b: c}, remove: [cookie]}}]}"),
        ("Route", "{service: api, rules: [{response_headers: {remove: [server]}, redirect: {scheme: https}}]}"),
        ("Route", "{service: api, rules: [{match: [{path: {prefix: /a}}], rewrite: {path_prefix: /, host: a.b}}]}"),
        ("Route", "{service: api, rules: [{redirect: {host: 'a.b:8080', path: /x, code: 308}}]}"),
        ("Route", "{service: api, rules: [{respond: {code: 200, body: ok}}, {allow_encoded_slash: true}]}"),
        ("Route", "{gateway: edge, hosts: [Shop.example.com, '*.example.com', '*'], rules: [{to: [web]}]}"),
        ("Traffic", "{service: api}"),
        ("Traffic", "{service: api, balance: least_request, connect_timeout: 1s, timeout: 5s, idle_timeout: 1h, stream_idle: 5m, tls: strict}"),
        ("Traffic", "{service: api, capacity: {connections: 500, pending: 100, requests: 0}, retry_budget: {ratio: 20%, min: 3}}"),
        ("Traffic", "{service: api, outlier: {consecutive: 0, success_below: 80%, eject: 30s, max_ejected: 50%}, retry: {max: 2}}"),
        ("Traffic", "{service: api, outlier: {latency_factor: 2.5}, zone: {prefer: same, spill_below: 70%}, slow_start: 30s, failover: [api-dr, other/api]}"),
        ("Traffic", "{service: api, outlier: {latency_factor: 0}, zone: {prefer: any}, slow_start: 0s, failover: []}"),
        ("Traffic", "{service: api, balance: {ring_hash: {header: X-User}}}"),
        ("Traffic", "{service: api, balance: {maglev: {cookie: sid, table_size: 655373}}}"),
        ("Traffic", "{service: api, balance: {ring_hash: {query: user}}}"),
        ("Traffic", "{service: api, balance: {maglev: {source_address: true}}}"),
        ("Defaults", "{traffic: {zone: {prefer: same}, slow_start: 30s}}"),
        ("Access", "{service: api, rules: [{name: readers, allow: {from: [web, reports/*], methods: [GET, HEAD]}}]}"),
        ("Access", "{service: api, mode: shadow, rules: [{deny: {from: ['*'], paths: [{prefix: /admin}]}}]}"),
        ("Defaults", "{access: deny, traffic: {timeout: 15s}, retry: {max: 1}}"),
        ("Route", "{service: api, rules: [{mirror: {to: api-shadow, fraction: 5%}}, {mirror: {to: {service: other/web, labels: {version: v2}}}}]}"),
        ("Limit", "{service: api, rules: [{match: [{path: {prefix: /search}}], by: caller, rate: 50/s, burst: 100, scope: host}]}"),
        ("Limit", "{service: api, rules: [{name: a, rate: 1000000/s, scope: mesh}, {concurrency: 1}, {match: [{from: [web]}], rate: 5/h}]}"),
        ("Fault", "{service: api, match: [{from: [web]}], fraction: 5%, delay: 300ms, until: '2027-01-15T18:00:00Z'}"),
        ("Fault", "{service: api, abort: 503, until: '2027-01-15 18:00:00.5+01:00'}"),
    ],
)  # fmt: skip
def test_what_is_documented_can_be_written(kind: str, spec: str) -> None:
    assert codes(kind, spec) == []


@pytest.mark.parametrize(
    "spec",
    [
        "{listeners: [{name: http, port: 80, protocol: http, redirect_to: https}, {name: https, port: 443, protocol: https,"
        " hosts: [a.b], tls: {min: '1.3', certificates: [{cert_file: /a, key_file: /b}]}}], hosts_with: {role: edge},"
        " trust_forwarded_from: [10.0.0.0/8, '::1/128']}",
        "{listeners: [{name: http, port: 80, protocol: http}]}",
    ],
)
def test_a_gateway_can_be_written(spec: str) -> None:
    assert codes("Gateway", spec, namespace="mesh") == []


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        ("Route", "{service: api}", [("missing_field", "spec.rules")]),
        ("Route", "{service: api, rules: []}", [("out_of_range", "spec.rules")]),
        ("Route", "{rules: [{}]}", [("exclusive_fields", "spec")]),
        ("Route", "{service: api, gateway: edge, rules: [{}]}", [("exclusive_fields", "spec")]),
        ("Route", "{service: api, hosts: [a.b], rules: [{}]}", [("exclusive_fields", "spec")]),
        ("Route", "{gateway: edge, rules: [{to: [web]}]}", [("missing_field", "spec")]),
        ("Route", "{gateway: edge, hosts: [a.b], rules: [{}]}", [("missing_field", "spec")]),
        ("Route", "{gateway: edge, hosts: ['a.b:80'], rules: [{to: [web]}]}", [("bad_host", "spec.hosts[0]")]),
        ("Route", "{servce: api, service: api, rules: [{}]}", [("unknown_field", "spec.servce")]),
        ("Route", "{service: Api, rules: [{}]}", [("bad_name", "spec.service")]),
        ("Route", "{service: api, rules: [{name: a}, {name: a}]}", [("repeated", "spec")]),
        ("Route", "{service: api, rules: [{to: ['*']}]}", [("bad_target", "spec.rules[0].to[0].service")]),
        ("Route", "{service: api, rules: [{to: []}]}", [("out_of_range", "spec.rules[0].to")]),
        ("Route", "{service: api, rules: [{to: [{service: api, weight: 0}]}]}", [("out_of_range", "spec.rules[0]")]),
        ("Route", "{service: api, rules: [{to: [{service: api, weight: -1}]}]}", [("out_of_range", "spec.rules[0].to[0].weight")]),
        ("Route", "{service: api, rules: [{to: [{service: api, labels: {version: 1.10}}]}]}", [("quote_it", "spec.rules[0].to[0].labels.version")]),
        ("Route", "{service: api, rules: [{match: [{path: {prefix: a}}]}]}", [("bad_path", "spec.rules[0].match[0].path.prefix")]),
        ("Route", "{service: api, rules: [{match: [{path: {prefix: /a/../b}}]}]}", [("bad_path", "spec.rules[0].match[0].path.prefix")]),
        ("Route", "{service: api, rules: [{match: [{path: {regex: '(?=a)'}}]}]}", [("bad_regex", "spec.rules[0].match[0].path.regex")]),
        ("Route", "{service: api, rules: [{match: [{path: {exact: /a, prefix: /b}}]}]}", [("exclusive_fields", "spec.rules[0].match[0].path")]),
        ("Route", "{service: api, rules: [{match: [{path: /a}]}]}", [("wrong_type", "spec.rules[0].match[0].path")]),
        ("Route", "{service: api, rules: [{match: [{headers: {a b: c}}]}]}", [("bad_header", "spec.rules[0].match[0].headers.a b")]),
        ("Route", "{service: api, rules: [{match: [{headers: {x-a: yes}}]}]}", [("quote_it", "spec.rules[0].match[0].headers.x-a")]),
        ("Route", "{service: api, rules: [{match: [{headers: {x-a: {}}}]}]}", [("exclusive_fields", "spec.rules[0].match[0].headers.x-a")]),
        ("Route", "{service: api, rules: [{match: [{methods: [get]}]}]}", [("bad_method", "spec.rules[0].match[0].methods[0]")]),
        ("Route", "{service: api, rules: [{match: [{from: []}]}]}", [("out_of_range", "spec.rules[0].match[0].from")]),
        ("Route", "{service: api, rules: [{match: [{query: {a: b}, cookies: {a: b}}]}]}",
            [("field_not_enforced", "spec.rules[0].match[0].query"), ("field_not_enforced", "spec.rules[0].match[0].cookies")]),
        ("Route", "{service: api, rules: [{mirror: {to: '*'}}]}", [("bad_target", "spec.rules[0].mirror.to.service")]),
        ("Route", "{service: api, rules: [{mirror: {to: {service: web, weight: 5}}}]}", [("exclusive_fields", "spec.rules[0].mirror")]),
        ("Route", "{service: api, rules: [{mirror: {to: web}, respond: {code: 200}}]}", [("exclusive_fields", "spec.rules[0]")]),
        ("Route", "{service: api, rules: [{timeout: 15}]}", [("bad_duration", "spec.rules[0].timeout")]),
        ("Route", "{service: api, rules: [{timeout: 0s}]}", [("bad_duration", "spec.rules[0].timeout")]),
        ("Route", "{service: api, rules: [{timeout: }]}", [("wrong_type", "spec.rules[0].timeout")]),
        ("Route", "{service: api, rules: [{retry: {max: 11}}]}", [("out_of_range", "spec.rules[0].retry.max")]),
        ("Route", "{service: api, rules: [{retry: {max: '1'}}]}", [("wrong_type", "spec.rules[0].retry.max")]),
        ("Route", "{service: api, rules: [{retry: {retry_on: [503]}}]}", [("quote_it", "spec.rules[0].retry.retry_on[0]")]),
        ("Route", "{service: api, rules: [{retry: {retry_on: [not-found]}}]}", [("unknown_word", "spec.rules[0].retry.retry_on[0]")]),
        ("Route", "{service: api, rules: [{retry: {retry_on: [sometimes]}}]}", [("unknown_word", "spec.rules[0].retry.retry_on[0]")]),
        ("Route", "{service: api, rules: [{request_headers: {set: {host: a}}}]}", [("reserved_header", "spec.rules[0].request_headers.set.host")]),
        ("Route", "{service: api, rules: [{request_headers: {set: {x-weft-caller: a}}}]}",
            [("reserved_header", "spec.rules[0].request_headers.set.x-weft-caller")]),
        ("Route", "{service: api, rules: [{response_headers: {set: {x-a: \"b\\r\\nc: d\"}}}]}", [("bad_header", "spec.rules[0].response_headers.set.x-a")]),
        ("Route", "{service: api, rules: [{redirect: {scheme: https}, respond: {code: 200}}]}", [("exclusive_fields", "spec.rules[0]")]),
        ("Route", "{service: api, rules: [{redirect: {scheme: https}, to: [api]}]}", [("exclusive_fields", "spec.rules[0]")]),
        ("Route", "{service: api, rules: [{redirect: {code: 301}}]}", [("missing_field", "spec.rules[0].redirect")]),
        ("Route", "{service: api, rules: [{redirect: {host: a.b, code: 304}}]}", [("out_of_range", "spec.rules[0].redirect")]),
        ("Route", "{service: api, rules: [{respond: {code: 199}}]}", [("out_of_range", "spec.rules[0].respond.code")]),
        ("Route", "{service: api, rules: [{rewrite: {path_prefix: /}}]}", [("exclusive_fields", "spec.rules[0]")]),
        ("Traffic", "{}", [("missing_field", "spec.service")]),
        ("Traffic", "{service: api, zone: {}}", [("missing_field", "spec.zone.prefer")]),
        ("Traffic", "{service: api, zone: {prefer: mine}}", [("unknown_word", "spec.zone.prefer")]),
        ("Traffic", "{service: api, zone: {prefer: same, spill_below: 70}}", [("bad_percentage", "spec.zone.spill_below")]),
        ("Traffic", "{service: api, slow_start: 30}", [("bad_duration", "spec.slow_start")]),
        ("Traffic", "{service: api, failover: ['*']}", [("bad_target", "spec.failover[0]")]),
        ("Traffic", "{service: api, failover: [a, b, a]}", [("repeated", "spec")]),
        ("Traffic", "{service: api, failover: [a, b, c, d, e, f, g, h, i]}", [("out_of_range", "spec.failover")]),
        ("Defaults", "{traffic: {failover: [a]}}", [("unknown_field", "spec.traffic.failover")]),
        ("Traffic", "{service: api, outlier: {latency_factor: 1}}", [("out_of_range", "spec.outlier.latency_factor")]),
        ("Traffic", "{service: api, outlier: {latency_factor: 300%}}", [("wrong_type", "spec.outlier.latency_factor")]),
        ("Traffic", "{service: api, tls: permissive}", [("field_not_enforced", "spec.tls")]),
        ("Traffic", "{service: api, balance: maglev}", [("missing_field", "spec.balance")]),
        ("Traffic", "{service: api, balance: {ring_hash: {}}}", [("exclusive_fields", "spec.balance.ring_hash")]),
        ("Traffic", "{service: api, balance: {ring_hash: {header: a, cookie: b}}}", [("exclusive_fields", "spec.balance.ring_hash")]),
        ("Traffic", "{service: api, balance: {ring_hash: {cookie: 'a b'}}}", [("bad_name", "spec.balance.ring_hash.cookie")]),
        ("Traffic", "{service: api, balance: {ring_hash: {source_address: false}}}", [("out_of_range", "spec.balance.ring_hash.source_address")]),
        ("Traffic", "{service: api, balance: {ring_hash: {header: a, table_size: 17}}}", [("unknown_field", "spec.balance.ring_hash.table_size")]),
        ("Traffic", "{service: api, balance: {maglev: {header: a, table_size: 65536}}}", [("out_of_range", "spec.balance.maglev.table_size")]),
        ("Traffic", "{service: api, balance: {p2c: {}}}", [("unknown_field", "spec.balance.p2c")]),
        ("Traffic", "{service: api, balance: {word: p2c}}", [("unknown_field", "spec.balance")]),
        ("Traffic", "{service: api, balance: {maglev: {header: a}}, zone: {prefer: same}}", [("exclusive_fields", "spec")]),
        ("Traffic", "{service: api, balance: {maglev: {header: a}}, slow_start: 1s}", [("exclusive_fields", "spec")]),
        ("Traffic", "{service: api, balance: p3c}", [("unknown_word", "spec.balance")]),
        ("Traffic", "{service: api, outlier: {success_below: 80}}", [("bad_percentage", "spec.outlier.success_below")]),
        ("Traffic", "{service: api, capacity: {pending: -1}}", [("out_of_range", "spec.capacity.pending")]),
        ("Access", "{service: api, rules: [{}]}", [("exclusive_fields", "spec.rules[0]")]),
        ("Access", "{service: api, rules: [{allow: {}}]}", [("missing_field", "spec.rules[0].allow")]),
        ("Access", "{service: api, rules: [{allow: {from: ['*']}, deny: {from: ['*']}}]}", [("exclusive_fields", "spec.rules[0]")]),
        ("Access", "{service: api, mode: on, rules: [{allow: {from: ['*']}}]}", [("quote_it", "spec.mode")]),
        ("Access", "{service: api, mode: enforced, rules: [{allow: {from: ['*']}}]}", [("unknown_word", "spec.mode")]),
        ("Defaults", "{gateway: {max_body: 10MB}}", [("wrong_namespace", "spec.gateway")]),
        ("Defaults", "{traffic: {service: api}}", [("unknown_field", "spec.traffic.service")]),
        ("Gateway", "{listeners: [{name: http, port: 80, protocol: http}]}", [("wrong_namespace", "kind")]),
        ("Limit", "{service: api, rules: []}", [("out_of_range", "spec.rules")]),
        ("Limit", "{rules: [{rate: 5/s}]}", [("exclusive_fields", "spec")]),
        ("Limit", "{service: api, rules: [{by: caller}]}", [("missing_field", "spec.rules[0]")]),
        ("Limit", "{service: api, rules: [{concurrency: 5, burst: 2}]}", [("missing_field", "spec.rules[0]")]),
        ("Limit", "{service: api, rules: [{rate: 50}]}", [("bad_rate", "spec.rules[0].rate")]),
        ("Limit", "{service: api, rules: [{rate: 50/d}, {rate: 0/s}, {rate: 1000001/s}]}",
            [("bad_rate", "spec.rules[0].rate"), ("bad_rate", "spec.rules[1].rate"), ("bad_rate", "spec.rules[2].rate")]),
        ("Limit", "{service: api, rules: [{by: address, rate: 5/s}]}", [("exclusive_fields", "spec")]),
        ("Limit", "{service: api, rules: [{by: user, rate: 5/s}]}", [("unknown_word", "spec.rules[0].by")]),
        ("Limit", "{gateway: edge, rules: [{rate: 5/s}]}", [("wrong_namespace", "spec.gateway")]),
        ("Limit", "{gateway: edge, rules: [{by: caller, rate: 5/s}]}", [("exclusive_fields", "spec"), ("wrong_namespace", "spec.gateway")]),
        ("Limit", "{gateway: edge, rules: [{scope: mesh, rate: 5/s}]}", [("field_not_enforced", "spec"), ("wrong_namespace", "spec.gateway")]),
        ("Fault", "{service: api, abort: 503}", [("missing_field", "spec.until")]),
        ("Fault", "{service: api, until: '2027-01-15T18:00:00Z'}", [("missing_field", "spec")]),
        ("Fault", "{service: api, abort: 200, until: '2027-01-15T18:00:00Z'}", [("out_of_range", "spec.abort")]),
        ("Fault", "{service: api, delay: 61s, until: '2027-01-15T18:00:00Z'}", [("out_of_range", "spec")]),
        ("Fault", "{service: api, abort: 503, until: 2027-01-15T18:00:00Z}", [("quote_it", "spec.until")]),
        ("Fault", "{service: api, abort: 503, until: '2027-01-15T18:00:00'}", [("bad_moment", "spec.until")]),
        ("Fault", "{service: api, abort: 503, until: '2027-13-15T18:00:00Z'}", [("bad_moment", "spec.until")]),
        ("External", "{}", [("kind_not_enforced", "kind")]),
        ("Rout", "{}", [("unknown_kind", "kind")]),
        ("Route", "text", [("missing_field", "spec")]),
        ("Route", "[1]", [("missing_field", "spec")]),
        ("Route", "{service: [1], rules: 5}", [("wrong_type", "spec.service"), ("wrong_type", "spec.rules")]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_code_and_path(kind: str, spec: str, expected: list[tuple[str, str]]) -> None:
    assert sorted(codes(kind, spec)) == sorted(expected)


@pytest.mark.parametrize(
    ("listener", "expected"),
    [
        ("{name: a, port: 80, protocol: tcp}", [("field_not_enforced", "spec.listeners[0].protocol")]),
        ("{name: a, port: 0, protocol: http}", [("out_of_range", "spec.listeners[0].port")]),
        ("{name: a, port: 443, protocol: https}", [("missing_field", "spec.listeners[0]")]),
        ("{name: a, port: 80, protocol: http, redirect_to: a}", [("unknown_listener", "spec")]),
        ("{name: a, port: 80, protocol: http, redirect_to: b}", [("unknown_listener", "spec")]),
        ("{name: a, port: 80, protocol: http}, {name: a, port: 81, protocol: http}", [("repeated", "spec")]),
        ("{name: a, port: 80, protocol: http}, {name: b, port: 80, protocol: http}", [("repeated", "spec")]),
        (
            "{name: a, port: 443, protocol: https, tls: {min: 1.2, certificates: [{cert_file: a, key_file: /b}]}}",
            [
                ("quote_it", "spec.listeners[0].tls.min"),
                ("bad_path", "spec.listeners[0].tls.certificates[0].cert_file"),
            ],
        ),
    ],
)
def test_a_gateways_listeners_must_make_sense(listener: str, expected: list[tuple[str, str]]) -> None:
    assert codes("Gateway", f"{{listeners: [{listener}]}}", namespace="mesh") == expected


def test_a_network_must_be_one() -> None:
    spec = "{listeners: [{name: a, port: 80, protocol: http}], trust_forwarded_from: [10.0.0.1/8]}"
    assert codes("Gateway", spec, namespace="mesh") == [("bad_network", "spec.trust_forwarded_from[0]")]


def test_the_head_must_agree_with_the_key() -> None:
    document = (
        b"apiVersion: v1\nkind: Traffic\nmetadata: {name: two, namespace: other, labels: {}}\nspec: {}\nstatus: {}\n"
    )
    found = parse(KEY, document)
    assert isinstance(found, tuple)
    assert [(one.code.name, one.line) for one in found] == [
        ("api_version", 1),
        ("kind_disagrees", 2),
        ("name_disagrees", 3),
        ("namespace_disagrees", 3),
        ("unknown_field", 3),
        ("missing_field", 4),
        ("unknown_field", 5),
    ]


def test_every_error_has_its_line_and_column_and_says_what_was_expected() -> None:
    document = b"apiVersion: weft/v1\nkind: Route\nspec:\n  service: api\n  rules:\n  - timeout: 15\n    mach: []\n"
    found = parse(KEY, document)
    assert isinstance(found, tuple)
    assert [(one.line, one.column, one.message) for one in found] == [
        (6, 14, "15 has no unit: write it as 250ms or 15s"),
        (7, 5, "there is no field 'mach' here: did you mean 'match'?"),
    ]


def test_what_must_be_quoted_is_shown_quoted() -> None:
    document = text("Route", "{service: api, rules: [{to: [{service: api, labels: {version: 1.10}}]}]}")
    found = parse(KEY, document)
    assert isinstance(found, tuple)
    assert 'quote it: "1.10"' in found[0].message


def test_a_document_of_a_file_finds_its_namespace() -> None:
    bare = b"apiVersion: weft/v1\nkind: Route\nmetadata: {name: a}\nspec: {}\n"
    said = b"apiVersion: weft/v1\nkind: Route\nmetadata: {name: a, namespace: shop}\nspec: {}\n"
    assert identify(bare, namespace=None) == DocumentKey("default", "route", "a")
    assert identify(bare, namespace="other") == DocumentKey("other", "route", "a")
    assert identify(said, namespace=None) == DocumentKey("shop", "route", "a")
    disagreeing = identify(said, namespace="other")
    assert isinstance(disagreeing, tuple)
    assert [one.code.name for one in disagreeing] == ["namespace_disagrees"]


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ("{}", "name_missing"),
        ("{name: 12}", "quote_it"),
        ("{name: A_b}", "bad_name"),
        ("[a]", "wrong_type"),
        ("{name: a, nam: b}", "unknown_field"),
    ],
)
def test_a_document_of_a_file_needs_a_good_name(metadata: str, name: str) -> None:
    found = identify(f"apiVersion: weft/v1\nkind: Route\nmetadata: {metadata}\nspec: {{}}\n".encode(), namespace=None)
    assert isinstance(found, tuple)
    assert name in [one.code.name for one in found]


def test_the_target_of_a_broken_document_is_read_where_it_can_be() -> None:
    assert target_of(text("Access", "{service: api, rulez: []}")) == ("api", False)
    assert target_of(text("Access", "{service: api, mode: shadow, rulez: []}")) == ("api", True)
    assert target_of(text("Access", "{service: 12}")) == (None, False)
    assert target_of(b"rubbish: [") == (None, False)


def test_a_trailing_slash_of_a_prefix_means_nothing() -> None:
    spec = parsed("Route", "{service: api, rules: [{match: [{path: {prefix: /v2/}}, {path: {prefix: /}}]}]}").spec
    assert isinstance(spec, RouteSpec)
    assert [match.path.prefix for match in spec.rules[0].match if match.path] == ["/v2", "/"]


def test_json_is_a_document_too() -> None:
    document = b'{"apiVersion": "weft/v1", "kind": "Route", "spec": {"service": "api", "rules": [{}]}}'
    assert isinstance(parse(KEY, document), Document)


def test_every_model_says_what_it_is() -> None:
    folder = Path(__file__).parents[2] / "policy" / "documents"
    for file in folder.glob("*.py"):
        for name, following in re.findall(r"class (\w+)\(.*?\):\n\s+(.*)", file.read_text()):
            assert following.startswith('"""'), f"{file.name}: {name} has no docstring"
