"""The port for hosts, called by hand over real TLS: each refusal with its code."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from proxy.controllers import load_credential
from registry import keys
from registry.names import SpiffeId
from registry.pki import roster
from registry.pki.authority import Authority, create
from registry.pki.certificates import key_pem, new_key, now_utc
from registry.pki.requests import make_csr
from tests.support.identity import TRUST_DOMAIN, Controller, answering, make_controller, service

pytestmark = pytest.mark.anyio

API = service("api")


@pytest.fixture
async def controller(tmp_path: Path) -> AsyncIterator[Controller]:
    made = make_controller(tmp_path / "ca")
    await made.store.put(keys.roster("vm-1"), roster.encode(roster.RosterEntry(0.0, ("default/api",))))
    async with answering(made) as listening:
        yield listening


def credential(ca: Authority, identity: SpiffeId, *, life: timedelta = timedelta(hours=1)) -> tuple[bytes, str]:
    """A certificate with its key, and its serial."""
    key = new_key()
    issued = ca.sign(key.public_key(), identity, now=now_utc(), life=life)
    return issued.chain_pem + key_pem(key), issued.serial


def client_context(controller: Controller, shown: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=controller.authority.root_pem)
    if shown is not None:
        load_credential(context, shown)
    return context


async def reason_of_refusal(controller: Controller, shown: bytes, caplog: pytest.LogCaptureFixture) -> str:
    """What the controller says of a handshake that it ends."""
    with pytest.raises(httpx2.HTTPError):
        await post(controller, "/v1/sign", csr(), shown=shown)
    return next(str(vars(record)["tls_reason"]) for record in caplog.records if "tls_reason" in vars(record))


async def post(
    controller: Controller, path: str, body: object, *, shown: bytes | None = None
) -> tuple[int, dict[str, object]]:
    """Status and body."""
    async with httpx2.AsyncClient(verify=client_context(controller, shown), trust_env=False) as client:
        response = await client.post(controller.url + path, json=body)
        return response.status_code, response.json()


def csr(identity: SpiffeId = API) -> dict[str, str]:
    return {"csr": make_csr(new_key(), identity).decode()}


def of_host(controller: Controller, host: str = "vm-1") -> bytes:
    return credential(controller.authority, SpiffeId.of_host(TRUST_DOMAIN, host))[0]


async def test_anyone_may_ask_for_the_roots(controller: Controller) -> None:
    status, body = await post(controller, "/v1/join", {})
    assert status == 200
    assert body == {"trust": [controller.authority.root_pem], "trust_domain": TRUST_DOMAIN, "datacenter": "local"}


async def test_a_host_gets_what_its_roster_entry_allows(controller: Controller) -> None:
    status, body = await post(controller, "/v1/sign", csr(), shown=of_host(controller))
    assert status == 200
    assert body["revoked"] == []
    assert str(body["certificate"]).count("BEGIN CERTIFICATE") == 2


async def test_each_refusal_has_its_code(controller: Controller) -> None:
    host = of_host(controller)
    cases: list[tuple[bytes | None, object, int, str]] = [
        (None, csr(), 401, "certificate_required"),
        (host, csr(service("web")), 403, "identity_not_allowed"),
        (host, csr(SpiffeId.of_host(TRUST_DOMAIN, "vm-2")), 403, "identity_not_allowed"),
        (host, csr(SpiffeId.of_controller(TRUST_DOMAIN, "vm-1")), 403, "identity_not_allowed"),
        (host, csr(service("api", trust_domain="other")), 403, "wrong_trust_domain"),
        (host, {"csr": "rubbish"}, 400, "invalid_csr"),
        (host, {"csr": "x", "more": 1}, 400, "invalid_request"),
        (host, {"csr": "x" * 100_000}, 413, "too_large"),
        (of_host(controller, "vm-9"), csr(), 403, "host_unknown"),
        (credential(controller.authority, API)[0], csr(), 403, "not_a_host"),
        (credential(controller.authority, SpiffeId.of_host("other", "vm-1"))[0], csr(), 403, "not_a_host"),
    ]
    for shown, body, status, code in cases:
        found = await post(controller, "/v1/sign", body, shown=shown)
        assert (found[0], found[1]["code"]) == (status, code), found
        assert found[1]["detail"]


async def test_a_certificate_of_another_ca_ends_in_the_handshake(
    controller: Controller, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = create(tmp_path / "other", trust_domain=TRUST_DOMAIN, now=now_utc())
    shown, _ = credential(other, SpiffeId.of_host(TRUST_DOMAIN, "vm-1"))
    assert await reason_of_refusal(controller, shown, caplog) == "unknown_ca"


async def test_an_expired_certificate_ends_in_the_handshake(
    controller: Controller, caplog: pytest.LogCaptureFixture
) -> None:
    host = SpiffeId.of_host(TRUST_DOMAIN, "vm-1")
    shown, _ = credential(controller.authority, host, life=timedelta(seconds=-1))
    assert await reason_of_refusal(controller, shown, caplog) == "expired"


async def test_a_revoked_host_is_refused(controller: Controller) -> None:
    shown, serial = credential(controller.authority, SpiffeId.of_host(TRUST_DOMAIN, "vm-1"))
    await controller.store.put(keys.revoked(serial), b"{}")
    await controller.see()
    status, body = await post(controller, "/v1/sign", csr(), shown=shown)
    assert (status, body["code"]) == (403, "certificate_revoked")


async def test_hosts_already_known_are_signed_for_while_the_store_is_away(controller: Controller) -> None:
    await controller.see()
    known, stranger = of_host(controller), of_host(controller, "vm-9")
    await controller.store.close()
    assert (await post(controller, "/v1/sign", csr(), shown=known))[0] == 200
    status, body = await post(controller, "/v1/sign", csr(), shown=stranger)
    assert (status, body["code"]) == (503, "store_unavailable")


async def test_half_a_join_is_a_bad_request(controller: Controller) -> None:
    status, body = await post(controller, "/v1/join", {"host": "vm-2"})
    assert (status, body["code"]) == (400, "invalid_request")


async def test_joining_as_another_host_than_the_request_names_is_refused(controller: Controller) -> None:
    token = await controller.token("*")
    body = {"token": token.text, "host": "vm-2", **csr(SpiffeId.of_host(TRUST_DOMAIN, "vm-3"))}
    status, answer = await post(controller, "/v1/join", body)
    assert (status, answer["code"]) == (400, "invalid_csr")
    assert await controller.store.get(keys.roster("vm-2")) is None
