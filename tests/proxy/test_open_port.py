"""What the open port adds to a host's snapshot: a listener, and the services of others within bounds."""

from __future__ import annotations

import msgpack
import pytest

from policy.compiled import Forward, Route, Service, Target
from proxy import sections, snapshot
from proxy.snapshot import HostFacts, OpenPort, Rules, build
from registry.model import Endpoint, Presence, Protocol, Source, State
from registry.names import ServiceName

WEB, API, DB, CARD = (ServiceName("shop", name) for name in ("web", "api", "db", "card"))
HOST = HostFacts("vm-1", "", "corp", "ams1", "10.0.0.1:7502", OpenPort("127.0.0.1:7501", WEB))
PROTOCOLS = {API: Protocol.HTTP, DB: Protocol.TCP}


def endpoint(service: ServiceName, number: int) -> Endpoint:
    return Endpoint(
        service,
        f"{service.name}-{number}",
        "vm-2",
        "10.0.0.2:7502",
        9090,
        Protocol.HTTP,
        State.UP,
        Presence.CONFIRMED,
        Source.ETCD,
    )


def services(built: snapshot.Snapshot) -> list[str]:
    return [name.removeprefix("service/") for name in sorted(built) if name.startswith("service/")]


def test_the_port_has_its_caller_and_leads_to_services_that_take_requests() -> None:
    rules = Rules({API: Service(routes=(Route("doc/1", 0, Forward((Target("shop/card"),))),))})
    built = build(HOST, (), lambda _: (), rules, protocols=PROTOCOLS)
    listener = msgpack.unpackb(built[sections.OPEN])
    assert listener == {"kind": "open", "address": "127.0.0.1:7501", "caller": "shop/web"}
    assert services(built) == ["shop/api", "shop/card"], "and to where their routes send"


def test_without_it_nothing_of_others_is_there() -> None:
    closed = HostFacts("vm-1", "", "corp", "ams1", "10.0.0.1:7502")
    built = build(closed, (), lambda _: (), Rules(), protocols=PROTOCOLS)
    assert sorted(built) == ["host", "listener/inbound"]


def test_services_and_endpoints_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {ServiceName("shop", f"s{n:03}"): Protocol.HTTP for n in range(600)}
    assert len(services(build(HOST, (), lambda _: (), Rules(), protocols=many))) == 500
    monkeypatch.setattr(snapshot, "OPEN_ENDPOINTS", 25)
    built = build(HOST, (), lambda name: [endpoint(name, n) for n in range(10)], Rules(), protocols=many)
    assert services(built) == ["shop/s000", "shop/s001"]
