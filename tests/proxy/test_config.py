"""The agent's configuration file, and what else it reads."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from proxy.addresses import InvalidAdvertise, choose
from proxy.config import InvalidConfig, join_address, parse, split_address
from proxy.ports import PortClaims
from proxy.service_files import ServiceFiles
from proxy.upstream_ports import PortTakenError, UpstreamPorts
from registry.names import ServiceName

BASE = 'host = "vm-1"\nstate_dir = "/var/lib/weft/agent"\n[engine]\nsocket = "/run/weft/engine.sock"\n'
ETCD = '[etcd]\nendpoints = ["http://127.0.0.1:2379"]\nlease_ttl = "3s"\n'
WEB, API, DB = (ServiceName("default", name) for name in ("web", "api", "db"))


def test_what_is_left_out_has_its_default() -> None:
    config = parse(BASE + ETCD, source="agent.toml")
    assert (config.api.listen, config.inbound.port, config.gateway) == ("127.0.0.1:7500", 7502, None)
    assert config.etcd is not None
    assert (config.etcd.root, config.etcd.lease_ttl) == ("/weft/", timedelta(seconds=3))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BASE + ETCD + 'endpoint = "x"\n', "etcd.endpoint: unknown key"),
        ("hots = 'x'\n" + BASE + ETCD, "hots: unknown key"),
        (ETCD, "host: missing"),
        (BASE + ETCD.replace("3s", "3"), "etcd.lease_ttl"),
        (BASE + ETCD + "[inbound]\nport = 70000\n", "inbound.port"),
        (BASE + ETCD + '[outbound]\nlisten = "127.0.0.1:7501"\n', "outbound.as: missing"),
        (BASE + ETCD + '[outbound]\nlisten = "10.0.0.1:7501"\nas = "shop/web"\n', "outbound.listen: .*on loopback"),
        (BASE + ETCD + '[outbound]\nas = "shop/UP"\n', "outbound.as"),
        (BASE + ETCD + '[api]\nlisten = "7500"\n', "api.listen: an address and a port"),
        (BASE.replace("vm-1", "VM_1") + ETCD, "host: "),
        (BASE, "trust_domain and datacenter are required"),
        ("host = ", "not TOML"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said) as raised:
        parse(text, source="agent.toml")
    assert str(raised.value).startswith("agent.toml: ")


def test_the_open_port_is_off_unless_it_says_as_whom() -> None:
    assert parse(BASE + ETCD, source="agent.toml").outbound is None
    found = parse(BASE + ETCD + '[outbound]\nas = "shop/web"\n', source="agent.toml").outbound
    assert found is not None
    assert (found.listen, found.caller) == ("127.0.0.1:7501", "shop/web")


@pytest.mark.parametrize("text", ["127.0.0.1:7500", "[::1]:7500"])
def test_addresses_come_apart_and_together(text: str) -> None:
    assert join_address(*split_address(text)) == text


def test_the_agent_does_not_guess_its_address() -> None:
    assert choose("10.0.0.1", ["10.0.0.1", "10.1.0.1"]) == "10.0.0.1"
    assert choose("", ["10.0.0.1"]) == "10.0.0.1"
    for candidates in ([], ["10.0.0.1", "fd00::1"]):
        with pytest.raises(InvalidAdvertise, match="set advertise"):
            choose("", candidates)
    with pytest.raises(InvalidAdvertise, match="not an IP address"):
        choose("vm-1.example.com", [])


def test_an_upstream_keeps_its_port_for_good(tmp_path: Path) -> None:
    with PortClaims(tmp_path / "claims") as claims:
        first = UpstreamPorts(tmp_path / "ports.json", claims)
        port = first.port(WEB, API)
        assert first.port(WEB, API) == port
        assert first.port(WEB, DB) != port
    with PortClaims(tmp_path / "claims") as claims:
        assert UpstreamPorts(tmp_path / "ports.json", claims).port(WEB, API) == port


def test_a_port_that_is_asked_for_is_given_or_refused(tmp_path: Path) -> None:
    with PortClaims(tmp_path / "claims") as claims, PortClaims(tmp_path / "claims") as others:
        ports = UpstreamPorts(tmp_path / "ports.json", claims)
        free = others.claim()
        others.release(free)
        assert ports.port(WEB, API, wanted=free) == free
        with pytest.raises(PortTakenError, match="default/web, for its upstream default/api"):
            ports.port(DB, API, wanted=free)
        with pytest.raises(PortTakenError, match="a program"):
            ports.port(DB, API, wanted=others.claim())
        assert UpstreamPorts(tmp_path / "ports.json", claims).all == {"default/web default/api": free}


def test_files_of_services_say_what_is_registered(tmp_path: Path) -> None:
    files = ServiceFiles(tmp_path)
    (tmp_path / "web.yaml").write_text(
        "service: web\nid: web-1\nport: 8080\n---\nservice: api\nid: api-1\nport: 8081\n"
    )
    (tmp_path / "notes.txt").write_text("not ours")
    said = files.read()
    assert said is not None
    assert [(one.service, one.id, one.deregister_after) for one in said["web.yaml"]] == [
        (WEB, "web-1", None),
        (API, "api-1", None),
    ]
    assert files.read() is None


def test_a_broken_file_of_services_keeps_what_it_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = ServiceFiles(tmp_path)
    path = tmp_path / "web.json"
    path.write_text('{"service": "web", "id": "web-1", "port": 8080}')
    before = files.read()
    for broken in ("{", '{"service": "web", "id": "web-1", "prot": 1}', '{"service": "web", "port": 1}', "[1]"):
        path.write_text(broken)
        assert files.read() == before
    assert "a file of services is not used" in caplog.text
    path.unlink()
    assert files.read() == {}
