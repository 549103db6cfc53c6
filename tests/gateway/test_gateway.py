"""A gateway's document on one gateway host, and the certificates it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.certificates import InvalidCertificateFiles, PublicCertificates, load
from gateway.listeners import edge
from policy.compiled import CertificateFiles, Forward, Gateway, GatewayListener, Route, Target
from proxy import sections
from proxy.snapshot import Rules, needed
from registry.names import ServiceName
from tests.gateway.files import issue


def https(*certificates: CertificateFiles) -> Gateway:
    listener = GatewayListener(443, "https", hosts=("shop.example.com",), certificates=certificates)
    return Gateway(listeners={"http": GatewayListener(80, "http", redirect_to="https"), "https": listener})


def test_each_public_port_is_a_listener() -> None:
    gateway = https(CertificateFiles("a.crt", "a.key"), CertificateFiles("b.crt", "b.key"))
    found = edge("edge", gateway, labels={}, address="10.0.0.9")
    assert found is not None
    assert found.listeners == {
        "listener/public.http": sections.Public("10.0.0.9:80", "edge", "http"),
        "listener/public.https": sections.Public("10.0.0.9:443", "edge", "https"),
    }
    assert found.gateway.listeners["http"].redirect_to == sections.RedirectTo("https", 443)
    assert found.gateway.listeners["https"].certificates == ("public/edge/https/0", "public/edge/https/1")


def test_a_port_that_passes_connections_on_shows_no_certificate_and_has_rules_of_its_own() -> None:
    rule = Route("shop/db/1", 0, Forward(to=(Target("shop/db"),)), hosts=("db.example.com",))
    gateway = Gateway(
        listeners={"db": GatewayListener(5433, "tls", proxy_protocol_from=("10.0.0.0/8",))}, passthrough=(rule,)
    )
    found = edge("edge", gateway, labels={}, address="10.0.0.9")
    assert found is not None
    assert found.gateway.passthrough == (rule,)
    assert found.gateway.listeners["db"] == sections.GatewayListener("tls", proxy_protocol_from=("10.0.0.0/8",))
    # Whom it leads to is known to the gateway's engine.
    assert needed((), Rules(), found) == (ServiceName("shop", "db"),)


@pytest.mark.parametrize(
    ("labels", "serves"), [({"role": "edge", "x": "y"}, True), ({"role": "core"}, False), ({}, False)]
)
def test_only_hosts_with_every_label_serve_a_gateway(labels: dict[str, str], serves: bool) -> None:
    gateway = Gateway(hosts_with={"role": "edge"}, listeners={"http": GatewayListener(80, "http")})
    assert (edge("edge", gateway, labels=labels, address="::1") is not None) is serves


def test_certificates_are_read_again_when_their_files_change(tmp_path: Path) -> None:
    certificates = PublicCertificates()
    gateway = https(issue(tmp_path, "shop"))
    first = certificates.refresh("edge", gateway)["public/edge/https/0"]
    assert certificates.refresh("edge", gateway) == {}
    issue(tmp_path, "shop")
    second = certificates.refresh("edge", gateway)["public/edge/https/0"]
    assert first is not None
    assert second is not None
    assert first.chain != second.chain


def test_broken_files_keep_the_last_good_pair_and_say_so(tmp_path: Path) -> None:
    certificates = PublicCertificates()
    files = issue(tmp_path, "shop")
    gateway = https(files)
    certificates.refresh("edge", gateway)
    Path(files.key_file).write_text("rubbish")
    assert certificates.refresh("edge", gateway) == {}
    assert "not a PEM private key" in certificates.problems["public/edge/https/0"]
    issue(tmp_path, "shop")
    assert certificates.refresh("edge", gateway)["public/edge/https/0"] is not None
    assert certificates.problems == {}
    assert certificates.refresh("edge", Gateway()) == {"public/edge/https/0": None}


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    one, other, old = issue(tmp_path, "one"), issue(tmp_path, "other"), issue(tmp_path, "old", days=-1)
    with pytest.raises(InvalidCertificateFiles, match="not the key of"):
        load(Path(one.cert_file), Path(other.key_file))
    with pytest.raises(InvalidCertificateFiles, match="ended at"):
        load(Path(old.cert_file), Path(old.key_file))
    with pytest.raises(InvalidCertificateFiles, match="No such file"):
        load(tmp_path / "none.crt", Path(one.key_file))
