"""What documents can say of connections that a gateway passes on, and of the PROXY protocol."""

from __future__ import annotations

import pytest

from policy import compiled
from policy.compile import Compilation, ServiceFacts, compile_documents
from policy.selection import Stored
from registry.model import Protocol
from registry.names import ServiceName
from tests.policy.writing import stored

DB, API = ServiceName("shop", "db"), ServiceName("shop", "api")
FACTS = {DB: ServiceFacts(Protocol.TCP, frozenset({"role"})), API: ServiceFacts(Protocol.HTTP)}
LISTENER = "{name: db, port: 5433, protocol: tls, hosts: ['*.example.com'], proxy_protocol: {from: [10.0.0.0/8]}}"


def edge(*listeners: str) -> Stored:
    found = ", ".join(listeners or (LISTENER,))
    return stored("Gateway", f"{{listeners: [{found}]}}", name="edge", namespace="mesh")


def route(rule: str) -> Stored:
    return stored("Route", f"{{gateway: edge, hosts: [db.example.com], rules: [{rule}]}}", name="db")


def compile_(*documents: Stored) -> Compilation:
    return compile_documents(documents, FACTS)


def notes(found: Compilation, document: Stored) -> list[tuple[str, str]]:
    return [(note.code, note.path) for note in found.statuses[document.key].notes]


def errors(document: Stored) -> list[tuple[str, str]]:
    found = compile_(document)
    return [(error.path, error.message) for error in found.statuses[document.key].errors]


def test_a_listener_that_passes_connections_on_and_who_announces_them() -> None:
    listener = compile_(edge()).gateways["edge"].listeners["db"]
    assert listener == compiled.GatewayListener(
        port=5433, protocol="tls", hosts=("*.example.com",), proxy_protocol_from=("10.0.0.0/8",)
    )


def test_a_rule_that_leads_to_tcp_services_only_is_for_connections() -> None:
    document = route("{name: primary, to: [{service: db, labels: {role: primary}, weight: 3}], retry: {max: 2}}")
    found = compile_(edge(), document)
    gateway = found.gateways["edge"]
    assert gateway.routes == ()
    (passed,) = gateway.passthrough
    assert (passed.name, passed.hosts, passed.retry.max) == ("shop/db/primary", ("db.example.com",), 2)
    assert passed.action == compiled.Forward(to=(compiled.Target("shop/db", 3, {"role": "primary"}),))
    assert notes(found, document) == []


def test_every_other_rule_is_for_requests() -> None:
    requests = route("{to: [api]}, {respond: {code: 200}}, {to: [nobody]}")
    found = compile_(edge(), requests)
    gateway = found.gateways["edge"]
    assert ([rule.name for rule in gateway.routes], gateway.passthrough) == (
        ["shop/db/1", "shop/db/2", "shop/db/3"],
        (),
    )
    mixed = route("{to: [api, db]}")
    found = compile_(edge(), mixed)
    assert found.gateways["edge"].passthrough == ()
    assert notes(found, mixed) == [("WEFT0309", "spec.rules[0].to[1]")]


def test_what_no_connection_has_is_named_and_left_out() -> None:
    document = route(
        "{to: [db], timeout: 3s, allow_encoded_slash: true, request_headers: {remove: [x-a]}, "
        "response_headers: {remove: [x-b]}, rewrite: {host: other.example.com}}"
    )
    found = compile_(edge(), document)
    (passed,) = found.gateways["edge"].passthrough
    assert passed.request_headers == passed.response_headers == compiled.HeaderEdits()
    assert passed.action == compiled.Forward(to=(compiled.Target("shop/db"),))
    assert not passed.allow_encoded_slash
    fields = ("timeout", "request_headers", "response_headers", "rewrite", "allow_encoded_slash")
    assert notes(found, document) == [("WEFT0309", f"spec.rules[0].{field}") for field in fields]


@pytest.mark.parametrize("match", ["{path: {prefix: /}}", "{methods: [GET]}", "{headers: {x-a: b}}", "{from: [api]}"])
def test_a_rule_that_looks_at_requests_leads_no_connection_anywhere(match: str) -> None:
    document = route(f"{{match: [{match}], to: [db]}}")
    found = compile_(edge(), document)
    assert (found.gateways["edge"].routes, found.gateways["edge"].passthrough) == ((), ())
    assert notes(found, document) == [("WEFT0309", "spec.rules[0].match")]
    either = route(f"{{match: [{match}, {{}}], to: [db]}}")
    assert len(compile_(edge(), either).gateways["edge"].passthrough) == 1


def test_a_gateway_without_such_a_listener_is_named() -> None:
    document = route("{to: [db]}")
    found = compile_(edge("{name: web, port: 80, protocol: http}"), document)
    assert notes(found, document) == [("WEFT0309", "spec.rules[0].to")]


@pytest.mark.parametrize(
    ("listeners", "path", "said"),
    [
        (
            ("{name: a, port: 1, protocol: tls, tls: {certificates: [{cert_file: /a, key_file: /b}]}}",),
            "spec.listeners[0]",
            "shows its own certificates",
        ),
        (
            ("{name: a, port: 1, protocol: tls, redirect_to: b}", "{name: b, port: 2, protocol: http}"),
            "spec.listeners[0]",
            "cannot redirect",
        ),
        (
            ("{name: a, port: 1, protocol: tls}", "{name: b, port: 2, protocol: http, redirect_to: a}"),
            "spec",
            "takes no requests",
        ),
        (("{name: a, port: 1, protocol: tcp}",), "spec.listeners[0].protocol", "tls"),
        (
            ("{name: a, port: 1, protocol: tls, proxy_protocol: {from: []}}",),
            "spec.listeners[0].proxy_protocol.from",
            "",
        ),
        (
            ("{name: a, port: 1, protocol: tls, proxy_protocol: {from: [lb]}}",),
            "spec.listeners[0].proxy_protocol.from[0]",
            "lb",
        ),
        (("{name: a, port: 1, protocol: tls, proxy_protocol: v2}",), "spec.listeners[0].proxy_protocol", ""),
    ],
)
def test_a_listener_that_cannot_be_is_refused(listeners: tuple[str, ...], path: str, said: str) -> None:
    (found,) = errors(edge(*listeners))
    assert found[0] == path
    assert said in found[1]


def test_an_application_is_told_whose_connection_it_gets_only_where_it_gets_connections() -> None:
    for version in ("v1", "v2"):
        document = stored("Traffic", f"{{service: db, proxy_protocol: {version}}}")
        found = compile_(document)
        assert found.services[DB].traffic.proxy_protocol == version
        assert notes(found, document) == []
    document = stored("Traffic", "{service: api, timeout: 3s, proxy_protocol: v1}")
    found = compile_(document)
    traffic = found.services[API].traffic
    assert (traffic.proxy_protocol, traffic.timeout_ms) == (None, 3_000)
    assert notes(found, document) == [("WEFT0309", "spec.proxy_protocol")]
    (wrong,) = errors(stored("Traffic", "{service: db, proxy_protocol: v3}"))
    assert wrong[0] == "spec.proxy_protocol"
    (everywhere,) = errors(stored("Defaults", "{traffic: {proxy_protocol: v1}}", name="defaults"))
    assert everywhere[0] == "spec.traffic.proxy_protocol"
