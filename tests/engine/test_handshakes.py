"""The inbound port: only a service of this mesh that knows whom it wants gets past the handshake."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from registry.names import ServiceName, server_name
from registry.pki import certificates
from registry.pki.authority import create
from tests.engine.client import Door, ask, connected, exchange, get
from tests.engine.mesh import API, GUARDED, TRUST_DOMAIN, WEB, Mesh, running


def refused(door: Door) -> bool:
    """Whether nothing is answered there. In TLS 1.3 a client may only learn of it when it reads."""
    try:
        return exchange(door, get()) == b""
    except (ssl.SSLError, ConnectionError):
        return True


def named(name: str) -> Callable[[Mesh], Door]:
    """As web, asking for this server name."""
    return lambda mesh: replace(mesh.inbound(), server_name=name)


def protocols(*names: str) -> Callable[[Mesh], Door]:
    """As web, offering these protocols."""

    def door(mesh: Mesh) -> Door:
        found = mesh.inbound()
        assert found.tls is not None
        found.tls.set_alpn_protocols(list(names))
        return found

    return door


def without_certificate(mesh: Mesh) -> Door:
    """As nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return replace(mesh.inbound(), tls=context)


def with_tls_1_2(mesh: Mesh) -> Door:
    """As web, of old."""
    found = mesh.inbound()
    assert found.tls is not None
    found.tls.maximum_version = ssl.TLSVersion.TLSv1_2
    return found


STRANGERS: dict[str, Callable[[Mesh], Door]] = {
    "no certificate": without_certificate,
    "tls 1.2": with_tls_1_2,
    "another service's instance": named(server_name(GUARDED, "api-1", TRUST_DOMAIN)),
    "an unknown service": named(server_name(ServiceName("default", "nobody"), "api-1", TRUST_DOMAIN)),
    "an unknown instance": named(server_name(API, "api-9", TRUST_DOMAIN)),
    "another namespace": named(server_name(ServiceName("shop", "api"), "api-1", TRUST_DOMAIN)),
    "another trust domain": named(server_name(API, "api-1", "other.weft")),
    "the service without an instance": named(f"api.default.{TRUST_DOMAIN}"),
    "two protocols": protocols("h2", "http/1.1"),
    "no protocol": protocols(),
    "an unknown protocol": protocols("weft-tcp"),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_is_answered_nothing(mesh: Mesh, stranger: str) -> None:
    assert refused(STRANGERS[stranger](mesh))
    assert mesh.api.requests == []
    assert [response.status for response in ask(mesh.inbound(), get())] == [200]


def test_plain_text_is_told_that_tls_is_required(mesh: Mesh) -> None:
    (response,) = ask(replace(mesh.inbound(), tls=None), get() + get())
    assert (response.status, response.reason) == (403, "tls_required")
    assert mesh.api.requests == []


def test_a_certificate_of_another_authority_is_not_believed(mesh: Mesh, tmp_path: Path) -> None:
    other = create(tmp_path / "ca", trust_domain=TRUST_DOMAIN, now=certificates.now_utc())
    stranger = Mesh(other, mesh.hosts, {}).context(ServiceName("default", "stranger"))
    stranger.verify_mode = ssl.CERT_NONE
    assert refused(replace(mesh.inbound(), tls=stranger))
    assert mesh.api.requests == []


def test_the_host_field_never_picks_the_service(mesh: Mesh) -> None:
    request = get("/secret").replace(b"api.test", b"guarded.test")
    assert [response.status for response in ask(mesh.inbound(), request)] == [200]
    assert [response.status for response in ask(mesh.inbound(GUARDED, "guarded-1"), get("/secret"))] == [403]
    assert mesh.applications["guarded-1"].requests == []


def test_a_service_whose_trust_is_withdrawn_is_served_no_more(tmp_path: Path) -> None:
    with running(tmp_path) as mesh, connected(mesh.inbound()) as wire:
        wire.send(get())
        assert wire.until(1)[0].status == 200
        own = certificates.der(create(tmp_path / "new", trust_domain=TRUST_DOMAIN, now=certificates.now_utc()).root)
        mesh.hosts[0].writer.trust({TRUST_DOMAIN: (own,)})
        # The open connection is judged again, and new ones are not made.
        assert wire.read() == b""
        assert refused(mesh.inbound())


def test_callers_are_told_apart(mesh: Mesh) -> None:
    for caller in (WEB, GUARDED):
        ask(mesh.inbound(caller=caller), get())
        assert mesh.api.requests[-1].values(b"x-weft-caller") == [
            f"spiffe://{TRUST_DOMAIN}/ns/default/dc/local/svc/{caller.name}".encode()
        ]
