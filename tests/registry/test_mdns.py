"""Multicast DNS: what is announced is heard, what is heard is only a hint."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.announcements import (
    FORGET_AFTER,
    MAX_NEIGHBOURS,
    Announcement,
    Goodbye,
    Heard,
    InvalidAnnouncement,
    Neighbours,
    decode,
    encode,
)
from registry.mdns import Multicast, multicast_problem, open_multicast
from registry.model import Instance, Presence, Protocol, Source, State
from registry.names import ServiceName

pytestmark = pytest.mark.anyio

API = ServiceName("shop", "api")


def announced(
    instance: str = "api-1", *, host: str = "vm-2", domain: str = "corp", state: State = State.UP, weight: int = 100
) -> Announcement:
    return Announcement(
        trust_domain=domain,
        zone="a",
        instance=Instance(
            service=API,
            id=instance,
            host=host,
            address="127.0.0.1:7502",
            port=0,
            protocol=Protocol.HTTP,
            state=state,
            version="v1",
            labels={"version": "v1", "tier": "gold"},
            weight=weight,
        ),
    )


def raw(announcement: Announcement) -> dict[bytes, bytes | None]:
    return {key.encode(): value for key, value in encode(announcement).items()}


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(names, names, names, st.integers(0, 1000), st.sampled_from(State))
def test_what_is_encoded_is_decoded(service: str, instance: str, host: str, weight: int, state: State) -> None:
    before = Announcement(
        "corp",
        Instance(ServiceName("shop", service), instance, host, "10.0.0.1:7502", 0, Protocol.GRPC, state, weight=weight),
    )
    assert decode(raw(before), address="10.0.0.1", port=7502) == before
    assert len(before.label.encode()) <= 63


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", b"2"),
        ("w", b"many"),
        ("w", b"1001"),
        ("id", b"UPPER"),
        ("ns", b""),
        ("proto", b"gopher"),
        ("st", b"?"),
        ("host", b"\xff"),
    ],
)
def test_a_malformed_announcement_is_refused(field: str, value: bytes) -> None:
    with pytest.raises(InvalidAnnouncement):
        decode({**raw(announced()), field.encode(): value}, address="10.0.0.1", port=1)


@pytest.mark.parametrize("field", ["td", "ns", "svc", "id", "host", "proto", "st", "w"])
def test_a_missing_field_is_named(field: str) -> None:
    properties = raw(announced())
    del properties[field.encode()]
    with pytest.raises(InvalidAnnouncement, match=field):
        decode(properties, address="10.0.0.1", port=1)


def test_a_goodbye_makes_suspect_and_time_forgets() -> None:
    one = announced()
    neighbours = Neighbours("corp", "vm-1").apply(Heard(one.label, one), now=0.0)
    (endpoint,) = neighbours.endpoints(API)
    assert (endpoint.presence, endpoint.source, endpoint.address) == (Presence.CONFIRMED, Source.MDNS, "127.0.0.1:7502")

    neighbours = neighbours.apply(Goodbye(one.label), now=10.0)
    assert [e.presence for e in neighbours.endpoints(API)] == [Presence.SUSPECT]
    assert neighbours.forget(now=10.0 + FORGET_AFTER - 1) is neighbours
    assert neighbours.forget(now=10.0 + FORGET_AFTER).endpoints(API) == ()

    again = neighbours.apply(Heard(one.label, one), now=11.0)
    assert [e.presence for e in again.endpoints(API)] == [Presence.CONFIRMED]


def test_strangers_and_ourselves_are_left_out_and_counted() -> None:
    neighbours = Neighbours("corp", "vm-1")
    for one in (announced(domain="other"), announced(host="vm-1")):
        neighbours = neighbours.apply(Heard(one.label, one), now=0.0)
    assert neighbours.endpoints(API) == ()
    assert neighbours.refused == {"other_trust_domain": 1, "own_host": 1}


def test_a_flood_of_announcements_is_bounded() -> None:
    full = Neighbours(
        "corp",
        "vm-1",
        by_label={
            f"x{n}": Neighbours("corp", "v").apply(Heard("a", announced()), now=0).by_label["a"]
            for n in range(MAX_NEIGHBOURS)
        },
    )
    after = full.apply(Heard("one-more", announced("api-2")), now=0.0)
    assert len(after.by_label) == MAX_NEIGHBOURS
    assert after.refused == {"too_many": 1}


async def heard_of(multicast: Multicast, label: str, kind: type[Heard | Goodbye]) -> Heard | Goodbye:
    changes: AsyncIterator[Heard | Goodbye] = multicast.changes()
    async with asyncio.timeout(15):
        async for change in changes:
            if change.label == label and isinstance(change, kind):
                return change
    raise AssertionError("the stream ended")


async def test_loopback_passes_multicast_or_says_why_not() -> None:
    problem = await multicast_problem("127.0.0.1")
    assert problem is None or "127.0.0.1" in problem
    assert await multicast_problem("203.0.113.1") is not None


async def test_an_announced_instance_is_heard_updated_and_said_goodbye() -> None:
    problem = await multicast_problem("127.0.0.1")
    if problem is not None:
        pytest.skip(problem)
    one = announced(f"api-{uuid.uuid4().hex[:8]}")
    async with open_multicast(["127.0.0.1"]) as listener, open_multicast(["127.0.0.1"]) as speaker:
        hearing = asyncio.create_task(heard_of(listener, one.label, Heard))
        await speaker.announce([one])
        first = await hearing
        assert isinstance(first, Heard)
        assert first.announcement == one

        hearing = asyncio.create_task(heard_of(listener, one.label, Goodbye))
        await speaker.announce([])
        assert await hearing == Goodbye(one.label)
