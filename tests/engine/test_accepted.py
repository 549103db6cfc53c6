"""Whatever the compiler accepts, an engine takes: no document is good for its author and refused by every host.

The engine's own parser and builder judge, through the evaluator. Every field that takes a text is filled with texts at the edge
of what may be; most are refused where they are written, and none may be refused later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.listeners import edge
from ops.explain.evaluator import Evaluator, evaluating
from ops.explain.world import Plain, plain
from policy import compiled
from policy.compile import ServiceFacts, compile_documents
from policy.selection import Stored, select
from proxy import sections
from proxy.snapshot import Edge, HostFacts, Rules, build
from registry import keys
from registry.keys import DocumentKey
from registry.model import Endpoint, Instance, Presence, Protocol, Source, State
from registry.names import ServiceName
from registry.records import InvalidRecord, decode_instance, encode_instance
from tests.support.engine import engine_binary

NAMES = (
    "a", "A", "a_b", "_", "-", "a-", "ä.test", "a.test", "*.a.test", "*", "a..b", "a.b.", "a:1", "a.test:80", "a:65536", "a:99999",
    "a:", ":80", "x" * 63, "x" * 64, ".".join(["x" * 60] * 5), "x" * 256, "x" * 257, "[::1]:80",
    "GET", "get", "A" * 20, "A" * 21, "A" * 33, "CONNECT", "M-SEARCH", "--", "A-",
    "host", "Host", "expect", "http2-settings", "proxy-authorization", "x-forwarded-port", "x-weft-caller", "via", "te", "cookie",
)  # fmt: skip
VALUES = (
    "a", "", " ", " a ", "a b", "a\tb", "a\nb", "a\rb", "\x00", "\x7f", "\x85", "é", "\ud800", "\U0001f600", '"', "\\", "=", ";", ",", "&",
    "x" * 8_192, "x" * 8_193,
)  # fmt: skip
PATHS = (
    "/", "//", "/a", "/a/", "/a/../b", "/a/./b", "/a?b", "/a#b", "/é", '/"', "/\\", "/%2f", "/%", "/" + "a" * 8_000,
    "/" + "a" * 7_999, "/a b", "a", "", "/\x7f",
)  # fmt: skip
NETWORKS = (
    "10.0.0.0/8", "10.0.0.1/8", "10.0.0.0/255.0.0.0", "10.0.0.0/0.255.255.255", "::/0", "0.0.0.0/0", "::ffff:10.0.0.0/104", "fe80::%1/128",
    "fe80::%eth0", "10", "127.0.0.1", "010.0.0.0/8", "10.0.0.0/08", "::1/128", "10.0.0.0/33",
)  # fmt: skip
CALLERS = (
    "web", "shop/web", "shop/*", "*", "*/*", "gateway:edge", "gateway:*", "gateway:", "spiffe://corp", "spiffe://corp/", "spiffe://corp/a",
    "spiffe://corp/a/", "spiffe://C/a", "spiffe://c_d/a", "spiffe://corp/" + "a" * 2_034, "spiffe://corp/" + "a" * 2_035, "spiffe://corp/é",
    "spiffe://corp/..", "spiffe://" + "a" * 255 + "/a", "a/b/c",
)  # fmt: skip
REGEXES = (
    ".*", "(?i)a", "(?ii)a", "(?x)a", "(?P<a>b)(?P<a>c)", r"\w{140}", r"\w{1000}", "(?:a{1000}){1000}", "(?:a{1000}){100}", "[é-ü]{1000}",
    "[a-z0-9-]{1000}", r"[^/]{1000}", r"[\w-]{140}", r"\ud800", r"\<a", r"[\b]", r"[\B]", "a**", "a{2}{3}", "[a&&b]", r"\p{L}", "(?=a)",
    "(", "[", "a|*", "^*", r"\Qa\E", r"\z", r"\x{41}", "a{,5}", r"(?i:\w{35})", "(" * 100 + ")" * 100, "(" * 300 + ")" * 300,
    "((a{99}){99}){99}", r"\b{start}", "", "a\nb", "\ud800", "é",
)  # fmt: skip
MOMENTS = ("1960-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
QUANTITIES = (
    "0s", "1ms", "10h", "3650d", "0%", "0.001%", "100%", "101%", "1000000/s", "3600000000/h", "3600000001/h", "1/h", "0/s", "10MB",
)  # fmt: skip
RULES = (
    ("{match: [{path: {exact: $}}]}", PATHS),
    ("{match: [{path: {prefix: $}}]}", PATHS),
    ("{match: [{path: {regex: $}}]}", REGEXES),
    ("{match: [{methods: [$]}]}", NAMES),
    ("{match: [{headers: {$: a}}]}", NAMES + VALUES),
    ("{match: [{headers: {a: $}}]}", VALUES),
    ("{match: [{headers: {a: {regex: $}}}]}", REGEXES),
    ("{match: [{from: [$]}]}", CALLERS),
    ("{to: [$]}", CALLERS),
    ("{to: [{service: web, labels: {$: $}}]}", VALUES),
    ("{mirror: {to: $, fraction: 1%}}", CALLERS),
    ("{timeout: $}", QUANTITIES),
    ("{retry: {methods: [$]}}", NAMES),
    ("{retry: {per_try_timeout: $, backoff: {base: $}}}", QUANTITIES),
    ("{request_headers: {set: {$: a}}}", NAMES),
    ("{request_headers: {add: {a: $}}}", VALUES),
    ("{response_headers: {remove: [$]}}", NAMES),
    ("{match: [{path: {prefix: /a}}], rewrite: {path_prefix: $}}", PATHS),
    ("{rewrite: {host: $}}", NAMES),
    ("{redirect: {host: $}}", NAMES),
    ("{redirect: {path: $}}", PATHS),
    ("{respond: {code: 200, body: $}}", VALUES),
    ("{respond: {code: 204, body: $}}", VALUES),
    ("{respond: {code: 205, body: $}}", VALUES),
    ("{respond: {code: 304, body: $}}", VALUES),
)
FIELDS = (
    *(("Route", "{service: api, rules: [" + rule + "]}", texts) for rule, texts in RULES),
    ("Route", "{gateway: edge, hosts: [$], rules: [{to: [api]}]}", NAMES),
    ("Traffic", "{service: api, balance: {ring_hash: {header: $}}}", NAMES),
    ("Traffic", "{service: api, balance: {maglev: {cookie: $}}}", NAMES + VALUES),
    ("Traffic", "{service: api, balance: {maglev: {query: $, table_size: 101}}}", NAMES + VALUES),
    ("Traffic", "{service: api, connect_timeout: $, idle_timeout: $, stream_idle: $, slow_start: $}", QUANTITIES),
    ("Traffic", "{service: api, failover: [$]}", CALLERS),
    ("Traffic", "{service: api, zone: {prefer: same, spill_below: $}, outlier: {max_ejected: $}}", QUANTITIES),
    (
        "Traffic",
        "{service: api, capacity: {requests: 2147483648}, retry_budget: {min: 2147483648, ratio: $}}",
        QUANTITIES,
    ),
    ("Access", "{service: api, rules: [{allow: {from: [$]}}]}", CALLERS),
    ("Access", "{service: api, rules: [{deny: {methods: [$]}}]}", NAMES),
    ("Access", "{service: api, rules: [{deny: {paths: [{prefix: $}]}}]}", PATHS),
    ("Access", "{service: api, rules: [{deny: {paths: [{regex: $}]}}]}", REGEXES),
    ("Limit", "{service: api, rules: [{rate: $}]}", QUANTITIES),
    ("Limit", "{service: api, rules: [{concurrency: 1000000, match: [{headers: {$: $}}]}]}", NAMES),
    ("Limit", "{gateway: edge, rules: [{by: address, rate: $, match: [{path: {prefix: /a}}]}]}", QUANTITIES),
    ("Fault", "{service: api, abort: 503, until: $}", MOMENTS),
    ("Fault", "{service: api, delay: $, until: '2000-01-01T00:00:00Z'}", QUANTITIES),
    ("Gateway", "{listeners: [{name: a, port: 80, protocol: http, hosts: [$]}]}", NAMES),
    ("Gateway", "{trust_forwarded_from: [$], listeners: [{name: a, port: 80, protocol: http}]}", NETWORKS),
    ("Gateway", "{listeners: [{name: a, port: 80, protocol: http, proxy_protocol: {from: [$]}}]}", NETWORKS),
    ("Gateway", "{hosts_with: {$: $}, listeners: [{name: a, port: 80, protocol: tls}]}", VALUES),
    ("Defaults", "{traffic: {timeout: $}, retry: {backoff: {max: $}}}", QUANTITIES),
)
SERVICES = {
    ServiceName(namespace, name): ServiceFacts(Protocol.HTTP) for namespace, name in (("shop", "api"), ("shop", "web"))
}
TCP = {**SERVICES, ServiceName("shop", "api"): ServiceFacts(Protocol.TCP)}


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    """The engine's own."""
    with evaluating(engine_binary()) as evaluator:
        yield evaluator


def document(kind: str, spec: str, text: str) -> Stored:
    """A stored document, `$` filled with the text."""
    home = "mesh" if kind == "Gateway" or ("gateway: edge" in spec and kind == "Limit") else "shop"
    key = DocumentKey(home, kind.lower(), "edge" if kind == "Gateway" else "one")
    filled = spec.replace("$", json.dumps(text))
    return Stored(key, f"apiVersion: weft/v1\nkind: {kind}\nspec: {filled}\n".encode(), 1, 1)


EDGE = document("Gateway", "{listeners: [{name: a, port: 80, protocol: http}, {name: b, port: 81, protocol: tls}]}", "")


def told(documents: Sequence[Stored], services: dict[ServiceName, ServiceFacts]) -> dict[str, Plain]:
    """What engines are told of documents: every service and every gateway that follows from them."""
    done = compile_documents(documents, services)
    found: dict[str, object] = {sections.HOST: sections.Host("vm-1", "", "corp", "ams1")}
    for service in services:
        found[sections.service(service)] = done.services.get(service) or done.mesh.service(
            service.namespace, services[service].protocol.value
        )
    for name, one in done.gateways.items():
        at = edge(name, one, labels=one.hosts_with, address="127.0.0.1")
        assert at is not None
        found |= {**at.listeners, sections.gateway(name): at.gateway}
    return dict(plain({name: sections.encode(section) for name, section in found.items()}))


def judged(evaluator: Evaluator, kind: str, spec: str, text: str) -> str | None:
    """Nothing where the document is refused or the engine takes what follows from it; else what the engine says."""
    one = document(kind, spec, text)
    (choice,) = select([one])
    if choice.state != "accepted":
        return None
    documents = [one] if kind == "Gateway" else [one, EDGE]
    for services in (SERVICES, TCP):
        refused = evaluator.refusal(told(documents, services))
        if refused is not None:
            return f"{kind} {spec} with {text[:80]!r}: {refused}"
    return None


@pytest.mark.parametrize(("kind", "spec", "texts"), FIELDS, ids=lambda part: part[:60] if isinstance(part, str) else "")
def test_an_engine_takes_what_the_compiler_accepts(
    evaluator: Evaluator, kind: str, spec: str, texts: tuple[str, ...]
) -> None:
    refused = [said for text in texts if (said := judged(evaluator, kind, spec, text))]
    assert refused == []


def test_every_field_takes_some_of_the_texts() -> None:
    """Or nothing was tested there."""
    states = {spec: {select([document(kind, spec, text)])[0].state for text in texts} for kind, spec, texts in FIELDS}
    assert [spec for spec, seen in states.items() if "accepted" not in seen] == []


@pytest.mark.parametrize("address", [
    "10.0.0.1:7502", "[::1]:7502", "[::ffff:10.0.0.1]:1", "10.0.0.1:0", "10.0.0.1:99999", "10.0.0.1:00080", "10.0.0.1:٣", "::1:7502",
    "[10.0.0.1]:80", "[fe80::1%eth0]:80", "[fe80::1%1]:80", "fe80::1%1:80", "[::1]", "10.0.0.1", "[[::1]]:80", "[::1:80", "host:80", ":80", "",
])  # fmt: skip
@pytest.mark.parametrize("source", [Source.ETCD, Source.MDNS])
def test_an_engine_takes_the_endpoints_of_a_service_whatever_address_one_of_them_has(
    evaluator: Evaluator, address: str, source: Source
) -> None:
    """One that cannot be read is left out; its neighbour stays."""
    service = ServiceName("shop", "api")
    good = registered(service, "good", "10.0.0.9:7502")
    if source is Source.ETCD:
        there = decoded(registered(service, "odd", address))
    else:
        there = [registered(service, "odd", address)]
    known = [as_endpoint(one, source) for one in (good, *there)]
    facts = HostFacts("vm-1", "", "corp", "ams1", "127.0.0.1:7502")
    edge_of = Edge(
        "edge",
        {},
        sections.Gateway(routes=(compiled.Route("a/b", 0, compiled.Forward((compiled.Target(str(service)),))),)),
    )
    sent = plain(build(facts, (), lambda _: known, Rules(), protocols={}, edge=edge_of))
    assert evaluator.refusal(sent) is None
    endpoints = sent[f"endpoints/{service}"]["endpoints"]
    assert isinstance(endpoints, list)
    assert "good" in [one["instance"] for one in endpoints]


def registered(service: ServiceName, name: str, address: str) -> Instance:
    return Instance(service, name, "vm-2", address, 8080, Protocol.HTTP, State.UP)


def decoded(instance: Instance) -> list[Instance]:
    """What everybody reads of what a host wrote."""
    key = keys.instance(instance.service, instance.id)
    try:
        record = decode_instance(key, encode_instance(instance))
    except InvalidRecord:
        return []
    assert isinstance(record, Instance)
    return [record]


def as_endpoint(one: Instance, source: Source) -> Endpoint:
    return Endpoint(
        one.service, one.id, one.host, one.address, one.port, one.protocol, one.state, Presence.CONFIRMED, source
    )


pieces = st.sampled_from(
    ["a", "é", ".", r"\w", r"\W", r"\d", r"\S", "[a-z]", "[^/]", r"[\w.-]", "(a|b)", "(?:ab)", "(?i:a)", "{3}", "{40}", "{200}", "*", "+?", "|", "(", ")"]
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=8).map("".join))
def test_an_engine_takes_expressions_that_are_accepted(evaluator: Evaluator, pattern: str) -> None:
    assert judged(evaluator, "Access", "{service: api, rules: [{deny: {paths: [{regex: $}]}}]}", pattern) is None


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FIELDS), st.one_of(st.text(max_size=12), st.text("aA0-._:/*%\\[]() é", max_size=12)))
def test_an_engine_takes_any_text_that_is_accepted(
    evaluator: Evaluator, field: tuple[str, str, object], text: str
) -> None:
    kind, spec, _ = field
    assert judged(evaluator, kind, spec, text) is None


def test_a_service_that_says_nothing_is_taken(evaluator: Evaluator) -> None:
    """What the tests above ask would else be refused whatever documents say, or taken whatever they say."""
    assert evaluator.refusal(told([], SERVICES)) is None
    bad = compiled.Service(routes=(compiled.Route("a/b", 0, compiled.Respond(code=99)),))
    broken = {**told([], SERVICES), "service/shop/api": plain({"": sections.encode(bad)})[""]}
    assert "routes[0].action.code" in str(evaluator.refusal(broken))
