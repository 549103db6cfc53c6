"""What ends up in a host's snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import cast

import msgpack
import pytest

from policy.compiled import Access, Base, Forward, Mesh, Route, Service, Target
from proxy import sections
from proxy.snapshot import Edge, HostFacts, Local, Memory, Rules, Snapshot, build, diff
from registry.model import Endpoint, Instance, Presence, Protocol, Source, State
from registry.names import ServiceName

HOST = HostFacts("vm-1", "a", "corp", "ams1", "10.0.0.1:7502")
WEB, API, DB = (ServiceName("default", name) for name in ("web", "api", "db"))


def instance(service: ServiceName, id_: str, *, state: State = State.UP, host: str = "vm-1") -> Instance:
    return Instance(service, id_, host, "10.0.0.1:7502", 8080, Protocol.HTTP, state, version="v1")


def endpoint(service: ServiceName, id_: str, *, host: str = "vm-2", **changes: object) -> Endpoint:
    fields: dict[str, object] = {"address": "10.0.0.2:7502", "state": State.UP, "presence": Presence.CONFIRMED}
    fields |= changes
    return Endpoint(service, id_, host, port=9090, protocol=Protocol.HTTP, source=Source.ETCD, **fields)  # type: ignore[arg-type]


def built(
    *locals_: Local, known: Iterable[Endpoint] = (), rules: Rules | None = None, edge: Edge | None = None
) -> Snapshot:
    listed = list(known)
    return build(
        HOST,
        locals_,
        lambda service: [one for one in listed if one.service == service],
        rules or Rules(),
        protocols={},
        edge=edge,
    )


def opened(snapshot: Snapshot, name: str) -> dict[str, object]:
    return cast("dict[str, object]", msgpack.unpackb(snapshot[name], raw=False))


def rows(snapshot: Snapshot, service: ServiceName) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", opened(snapshot, sections.endpoints(service))["endpoints"])


def forward(*targets: str) -> Service:
    action = Forward(tuple(Target(target) for target in targets))
    return Service(routes=(Route("doc/rule", 0, action),))


def test_what_is_kept_from_the_build_before_changes_nothing_but_the_cost() -> None:
    memory, own = Memory(), Local(instance(WEB, "web-1"), {API: 9000, DB: 9001})
    known: dict[ServiceName, tuple[Endpoint, ...]] = {API: (endpoint(API, "api-1"),), DB: (endpoint(DB, "db-1"),)}
    ruled = Rules({API: forward("default/db")}, Mesh())
    steps: list[tuple[HostFacts, Rules]] = [(HOST, ruled), (HOST, ruled)]
    steps.append((HOST, Rules({API: forward("default/api")}, ruled.mesh)))
    steps.append((replace(HOST, zone="b"), ruled))
    steps.append((HOST, Rules({}, Mesh(base=Base(access="deny")))))
    before: Snapshot = {}
    for number, (host, rules) in enumerate(steps):
        if number == 1:
            known[DB] = (endpoint(DB, "db-1"), endpoint(DB, "db-2"))
        fresh = build(host, [own], lambda name: known.get(name, ()), rules, protocols={})
        kept = build(host, [own], lambda name: known.get(name, ()), rules, protocols={}, kept=memory)
        assert kept == fresh
        same = [name for name in kept if before.get(name) is kept[name]]
        assert number == 0 or sections.endpoints(API) in same or host != HOST or steps[number - 1][0] != HOST
        before = kept


def test_a_host_without_instances_still_has_its_inbound_listener() -> None:
    snapshot = built()
    assert sorted(snapshot) == ["host", "listener/inbound"]
    assert opened(snapshot, "listener/inbound") == {"address": "10.0.0.1:7502", "kind": "inbound"}


def test_only_services_that_are_run_called_or_sent_to_are_included() -> None:
    rules = Rules({API: forward("default/db"), ServiceName("other", "x"): forward("default/web")})
    snapshot = built(Local(instance(WEB, "web-1"), {API: 20001}), known=[endpoint(DB, "db-1")], rules=rules)
    services = sorted(name for name in snapshot if name.startswith("service/"))
    assert services == ["service/default/api", "service/default/db", "service/default/web"]
    assert [row["instance"] for row in rows(snapshot, DB)] == ["db-1"]


def test_routes_that_send_to_each_other_end() -> None:
    rules = Rules({WEB: forward("default/api"), API: forward("default/web")})
    assert "service/default/api" in built(Local(instance(WEB, "web-1")), rules=rules)


def test_each_pair_of_service_and_upstream_has_a_listener_of_its_own() -> None:
    snapshot = built(Local(instance(WEB, "web-1"), {API: 20001}), Local(instance(WEB, "web-2"), {API: 20001}))
    assert opened(snapshot, "listener/default.web.default.api") == {
        "address": "127.0.0.1:20001",
        "caller": "default/web",
        "upstream": "default/api",
        "kind": "outbound",
    }


def test_the_host_is_the_truth_of_its_own_instances() -> None:
    stale = [endpoint(WEB, "web-1", host="vm-1", state=State.UP), endpoint(WEB, "web-old", host="vm-1")]
    snapshot = built(Local(instance(WEB, "web-1", state=State.DOWN)), known=stale)
    assert [(row["instance"], row["state"]) for row in rows(snapshot, WEB)] == [("web-1", "down")]


@pytest.mark.parametrize(
    ("state", "said"),
    [(State.UP, "up"), (State.DRAIN, "drain"), (State.DOWN, "down"), (State.STARTING, "down")],
)
def test_an_engine_hears_of_three_states(state: State, said: str) -> None:
    assert rows(built(Local(instance(WEB, "web-1", state=state))), WEB)[0]["state"] == said


def test_a_suspect_is_marked_and_a_version_is_a_label() -> None:
    known = [endpoint(WEB, "web-9", presence=Presence.SUSPECT, version="v2", labels={"tier": "gold"})]
    row = rows(built(Local(instance(WEB, "web-1")), known=known), WEB)[1]
    assert row["suspect"] is True
    assert row["labels"] == {"tier": "gold", "version": "v2"}


@pytest.mark.parametrize("address", ["", "nowhere:7502", "10.0.0.2", "10.0.0.2:port"])
def test_an_endpoint_nobody_can_connect_to_spoils_nothing_else(address: str) -> None:
    known = [endpoint(WEB, "bad", address=address), endpoint(WEB, "good")]
    assert [row["instance"] for row in rows(built(Local(instance(WEB, "web-1")), known=known), WEB)] == [
        "web-1",
        "good",
    ]


def test_a_service_without_rules_gets_the_base_of_its_namespace() -> None:
    rules = Rules(mesh=Mesh(namespaces={"default": Base(access="deny")}))
    section = opened(built(Local(instance(WEB, "web-1")), rules=rules), sections.service(WEB))
    assert section["access"] == {"default": "deny", "rules": []}


def test_a_gateway_brings_the_services_its_routes_name() -> None:
    gateway = sections.Gateway(routes=forward("default/web").routes)
    edge = Edge("edge", {sections.public("http"): sections.Public("127.0.0.1:80", "edge", "http")}, gateway)
    snapshot = built(known=[endpoint(WEB, "web-1")], edge=edge)
    assert {"gateway/edge", "listener/public.http", "service/default/web", "endpoints/default/web"} <= set(snapshot)


def test_the_same_facts_in_another_order_give_the_same_bytes() -> None:
    known = [endpoint(WEB, f"web-{n}") for n in range(5)]
    one = built(Local(instance(WEB, "a")), Local(instance(WEB, "b")), known=known)
    other = built(Local(instance(WEB, "b")), Local(instance(WEB, "a")), known=reversed(known))
    assert one == other


def test_a_diff_names_what_changed_and_what_is_gone() -> None:
    change = diff({"a": b"1", "b": b"1", "c": b"1"}, {"a": b"1", "b": b"2", "d": b"1"})
    assert (dict(change.set), change.delete) == ({"b": b"2", "d": b"1"}, ("c",))
    assert not diff({"a": b"1"}, {"a": b"1"})


def test_names_of_listeners_are_never_too_long_for_an_engine() -> None:
    long = ServiceName("n" * 63, "s" * 63)
    name = sections.outbound(long, long)
    assert len(name.removeprefix("listener/")) <= 200
    assert name != sections.outbound(long, ServiceName("n" * 63, "t" * 63))


def test_denying_is_a_rule_an_engine_understands() -> None:
    assert opened({"x": sections.encode(Access(default="deny"))}, "x") == {"default": "deny", "rules": []}
