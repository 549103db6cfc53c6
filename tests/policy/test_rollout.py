"""Who serves a revision: the decision, and what an ack looks like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import compiled, records
from policy.records import ControllerStatus
from policy.rollout import Ack, Fleet, InvalidAck, Outcome, Refused, Rollout, Served, needed, rollout
from registry import keys
from registry.store import Item, Revision

REFUSAL = Refused("service/shop/api", "bad_regex", "routes[0]")


def decide(*, revision: int = 5, head: int = 5, seen: int = 5, live: bool = False) -> Rollout:
    return rollout(
        roster={"current", "ahead", "behind", "new", "refusing", "silent"},
        hosts={"current", "ahead", "behind", "new", "refusing", "stranger"},
        acks={
            "current": Ack(5, 0),
            "ahead": Ack(9, 0),
            "behind": Ack(4, 0),
            "refusing": Ack(5, 0, refused=(REFUSAL,)),
            "stranger": Ack(1, 0),
        },
        head=head,
        seen=seen,
        revision=revision,
        live=live,
    )


def test_hosts_are_sorted_by_what_they_serve() -> None:
    found = decide()
    assert found.current == ("ahead", "current")
    assert found.behind == {"behind": 4, "new": 0}
    assert found.refusing == {"refusing": (REFUSAL,)}
    assert found.silent == ("silent",)
    assert found.outcome is Outcome.WAITING


def test_only_the_living_are_asked_on_request() -> None:
    assert decide(live=True).silent == ()


@pytest.mark.parametrize(
    ("revision", "head", "seen", "goal"),
    [
        (5, 5, 5, 5),
        (5, 7, 7, 5),
        (5, 4, 5, 4),  # nothing changed at 5: what is live since 4 is all there is
        (5, 4, 4, None),  # the compiler has not looked at 5 yet
        (5, 0, 0, None),
    ],
)
def test_a_revision_is_covered_by_head_or_by_having_been_looked_at(
    revision: int, head: int, seen: int, goal: int | None
) -> None:
    assert needed(revision, head=head, seen=seen) == goal


def test_nobody_is_current_before_it_is_published() -> None:
    found = decide(revision=8, head=5, seen=7)
    assert not found.covered
    assert found.current == ()
    assert found.behind["ahead"] == 9


def test_everyone_current_is_done_and_a_refusal_makes_it_refused() -> None:
    def outcome(*refused: Refused) -> Outcome:
        return rollout(
            roster={"a"}, hosts={"a"}, acks={"a": Ack(5, 0, refused=refused)}, head=5, seen=5, revision=5
        ).outcome

    assert outcome() is Outcome.DONE
    assert outcome(REFUSAL) is Outcome.REFUSED
    assert (Outcome.DONE.value, Outcome.REFUSED.value, Outcome.WAITING.value) == (0, 1, 6)


hosts = st.sets(st.sampled_from(["a", "b", "c", "d"]))
acks = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.builds(Ack, st.integers(0, 9), st.just(0), st.sampled_from([(), (REFUSAL,)])),
)


@given(hosts, hosts, acks, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_every_host_of_the_roster_is_named_exactly_once(
    roster: set[str], living: set[str], acked: dict[str, Ack], head: int, seen: int, revision: int
) -> None:
    found = rollout(roster=roster, hosts=living, acks=acked, head=head, seen=seen, revision=revision)
    assert sorted([*found.current, *found.behind, *found.refusing, *found.silent]) == sorted(roster)
    if found.outcome is Outcome.DONE:
        assert all(acked[host].policy >= min(revision, head) and not acked[host].refused for host in roster)


@given(
    st.builds(
        Ack,
        st.integers(0, 2**62),
        st.integers(0, 2**62),
        st.lists(st.builds(Refused, st.text(), st.text(), st.text()), max_size=5).map(tuple),
        st.dictionaries(st.text(), st.builds(Served, st.text(), st.floats(0, 1e10))),
    )
)
def test_an_ack_survives_being_stored(ack: Ack) -> None:
    assert Ack.decode(ack.encode()) == ack


@pytest.mark.parametrize(
    "value",
    [b"", b"[]", b"1", b"{}", b'{"policy": 1}', b'{"policy":"x","registry":1,"refused":[],"certificates":{}}',
     b'{"policy":1,"registry":1,"refused":[[1,2]],"certificates":{}}', b'{"policy":1,"registry":1,"refused":[],"certificates":[]}'],
)  # fmt: skip
def test_what_is_no_ack_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidAck):
        Ack.decode(value)


def item(key: str, value: bytes) -> Item:
    return Item(key, value, Revision(1), Revision(1), 1)


def test_a_fleet_follows_its_keys_and_ignores_what_cannot_be_read() -> None:
    fleet = Fleet()
    head = compiled.encode(compiled.Head(7, "d"), source_revision=Revision(7))
    status = records.encode(ControllerStatus("ctl", 7, 8))
    fleet.reset(
        [
            item(keys.roster("a"), b"{}"),
            item(keys.roster("b"), b"{}"),
            item(keys.host("a"), b"{}"),
            item(keys.ack("a"), Ack(7, 1).encode()),
            item(keys.ack("b"), b"rubbish"),
            item(keys.ROSTER + "Not A Host", b"{}"),
            item(keys.COMPILED_HEAD, head),
            item(keys.STATUS_CONTROLLER, status),
        ]
    )
    assert fleet.rollout() == Rollout(7, True, current=("a",), silent=("b",))
    fleet.take(keys.roster("b"), None)
    fleet.take(keys.ack("a"), None)
    assert fleet.rollout(8) == Rollout(8, True, behind={"a": 0})
    fleet.take(keys.COMPILED_HEAD, b"rubbish")
    assert fleet.rollout().revision == 7
    fleet.reset([])
    assert fleet.rollout() == Rollout(0, True)
