"""Who may have which identity."""

from __future__ import annotations

import pytest

from registry.names import InvalidName, ServiceName, SpiffeId
from registry.pki import roster
from registry.pki.errors import IdentityRefusedError

TD, DC = "corp", "ams1"


def verdict(identity: SpiffeId, *allowed: str, host: str = "vm-1") -> str:
    try:
        roster.check_entitlement(host, allowed, identity, trust_domain=TD, datacenter=DC)
    except IdentityRefusedError as error:
        return error.code
    return "ok"


def svc(text: str, *, trust_domain: str = TD, datacenter: str = DC) -> SpiffeId:
    return SpiffeId.of_service(trust_domain, datacenter, ServiceName.parse(text))


EDGE = SpiffeId.of_gateway(TD, DC, "edge")


@pytest.mark.parametrize(
    ("identity", "allowed", "expected"),
    [
        (svc("shop/api"), ["*"], "ok"),
        (svc("shop/api"), ["shop/*"], "ok"),
        (svc("shop/api"), ["shop/api"], "ok"),
        (svc("shop/api"), ["shop/web", "bank/*"], "identity_not_allowed"),
        (svc("shop/api"), [], "identity_not_allowed"),
        (svc("shopping/api"), ["shop/*"], "identity_not_allowed"),
        (svc("shop/api"), ["gateway:api"], "identity_not_allowed"),
        (EDGE, ["gateway:edge"], "ok"),
        (EDGE, ["gateway:*"], "ok"),
        (EDGE, ["*", "mesh/*", "mesh/edge", "gateway:other"], "identity_not_allowed"),
        (SpiffeId.of_host(TD, "vm-1"), [], "ok"),
        (SpiffeId.of_host(TD, "vm-2"), ["*", "gateway:*"], "identity_not_allowed"),
        (SpiffeId.of_controller(TD, "vm-1"), ["*", "gateway:*"], "identity_not_allowed"),
        (SpiffeId(TD, "/anything/else"), ["*"], "identity_not_allowed"),
        (svc("shop/api", trust_domain="other"), ["*"], "wrong_trust_domain"),
        (SpiffeId.of_host("other", "vm-1"), ["*"], "wrong_trust_domain"),
        (svc("shop/api", datacenter="fra1"), ["*"], "wrong_datacenter"),
    ],
    ids=str,
)
def test_a_host_may_be_itself_and_what_its_patterns_cover(
    identity: SpiffeId, allowed: list[str], expected: str
) -> None:
    assert verdict(identity, *allowed) == expected


@pytest.mark.parametrize(
    "pattern", ["", "*/*", "Shop/*", "shop", "shop/", "gateway:", "gateway:a/b", "a/b/c", "host:vm"]
)
def test_a_pattern_that_means_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidName):
        roster.check_pattern(pattern)


def test_people_may_write_a_service_of_their_namespace_by_its_name_alone() -> None:
    assert roster.patterns(["api", "bank/*", "gateway:edge", "*"], namespace="shop") == (
        "shop/api",
        "bank/*",
        "gateway:edge",
        "*",
    )


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"joined": 1}', b'{"joined": 1, "services": ["Bad"]}'])
def test_an_entry_that_cannot_be_read_is_an_error_and_not_an_empty_entry(value: bytes) -> None:
    with pytest.raises(roster.InvalidRosterEntry):
        roster.decode(value)


def test_an_entry_reads_back() -> None:
    entry = roster.RosterEntry(12.5, ("*", "gateway:edge"), {"role": "edge"})
    assert roster.decode(roster.encode(entry)) == entry
