"""Identities carried by hand: requests out, certificates in, no controller anywhere."""

from __future__ import annotations

import asyncio
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.credentials import Change, Identity, Trust
from proxy.identity_files import FileIdentities
from registry.pki.authority import Authority, create
from registry.pki.certificates import now_utc
from registry.pki.commands import sign_csr
from tests.support.identity import TRUST_DOMAIN, service

pytestmark = pytest.mark.anyio

API = service("api", "shop")


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return create(tmp_path / "ca", trust_domain=TRUST_DOMAIN, now=now_utc())


def files(tmp_path: Path) -> tuple[FileIdentities, Path]:
    directory = tmp_path / "identity"
    return FileIdentities(directory, look_every=0.01), directory


def carry(tmp_path: Path, directory: Path, *, life: timedelta = timedelta(hours=1)) -> None:
    """What a person does: take the request to the CA, bring the certificate back."""
    csr = (directory / "requests" / "api.shop.csr").read_bytes()
    chain = sign_csr(tmp_path / "ca", csr, services=["shop/*"], now=now_utc(), life=life)
    (directory / "certificates" / "api.shop.pem").write_bytes(chain)


async def first(identities: FileIdentities, kind: type[Change]) -> Change:
    async with asyncio.timeout(5):
        async for change in identities.changes():
            if isinstance(change, kind):
                return change
    raise AssertionError("changes ended")


async def test_a_request_is_signed_elsewhere_and_taken_as_soon_as_it_is_back(tmp_path: Path, ca: Authority) -> None:
    identities, directory = files(tmp_path)
    identities.want(frozenset({API}))
    assert str(directory / "requests" / "api.shop.csr") in identities.problems[API]
    (directory / "trust" / "root.pem").write_text(ca.root_pem)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(identities.run())
        carry(tmp_path, directory)
        found = await first(identities, Identity)
        assert isinstance(found, Identity)
        assert found.id == API
        trust = await first(identities, Trust)
        assert isinstance(trust, Trust)
        assert list(trust.bundles) == [TRUST_DOMAIN]
        task.cancel()
    assert identities.problems == {}


async def test_a_certificate_signed_again_replaces_the_older(tmp_path: Path, ca: Authority) -> None:
    identities, directory = files(tmp_path)
    identities.want(frozenset({API}))
    carry(tmp_path, directory)
    identities.want(frozenset({API}))
    before = await first(identities, Identity)
    carry(tmp_path, directory)
    identities.want(frozenset({API}))
    after = await first(identities, Identity)
    assert isinstance(before, Identity)
    assert isinstance(after, Identity)
    assert after.serial != before.serial
    assert after.key == before.key


async def test_a_restart_makes_no_new_key_and_no_new_request(tmp_path: Path, ca: Authority) -> None:
    identities, directory = files(tmp_path)
    identities.want(frozenset({API}))
    request = (directory / "requests" / "api.shop.csr").read_bytes()
    again, _ = files(tmp_path)
    again.want(frozenset({API}))
    assert (directory / "requests" / "api.shop.csr").read_bytes() == request
    carry(tmp_path, directory)
    again.want(frozenset({API}))
    assert again.problems == {}


@pytest.mark.parametrize(
    ("damage", "word"), [("expired", "ended at"), ("other key", "another key"), ("rubbish", "cannot be read")]
)
def test_a_certificate_that_cannot_be_used_is_named_with_its_file(
    tmp_path: Path, ca: Authority, damage: str, word: str
) -> None:
    identities, directory = files(tmp_path)
    identities.want(frozenset({API}))
    certificate = directory / "certificates" / "api.shop.pem"
    carry(tmp_path, directory, life=timedelta(seconds=-5 if damage == "expired" else 3600))
    if damage == "other key":
        (directory / "keys" / "api.shop.key").unlink()
    if damage == "rubbish":
        certificate.write_text("rubbish")
    identities.want(frozenset({API}))
    assert word in identities.problems[API]
    assert str(certificate) in identities.problems[API]


def test_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    identities, directory = files(tmp_path)
    identities.want(frozenset({API}))
    assert stat.S_IMODE((directory / "keys" / "api.shop.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((directory / "keys").stat().st_mode) == 0o700
