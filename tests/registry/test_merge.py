"""Watch responses, however they are split and delayed, become whole revisions in order."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.etcd.merge import Merge, OutOfOrderError
from registry.store import Batch, Event, Revision


def event(key: str, revision: int) -> Event:
    return Event(key, Revision(revision), None)


def test_one_watch_tells_a_complete_response_at_once() -> None:
    merge = Merge(watches=1, told=Revision(4))
    assert merge.events(1, [event("a", 4), event("a", 5), event("b", 5), event("a", 6)], fragment=False) == [
        Batch(Revision(5), (event("a", 5), event("b", 5))),
        Batch(Revision(6), (event("a", 6),)),
    ]


def test_fragments_are_held_until_the_last() -> None:
    merge = Merge(watches=1, told=Revision(4))
    assert merge.events(1, [event("b", 5)], fragment=True) == []
    assert merge.events(1, [event("a", 5)], fragment=False) == [Batch(Revision(5), (event("a", 5), event("b", 5)))]


def test_with_several_watches_nothing_is_told_before_progress_proves_it_whole() -> None:
    merge = Merge(watches=2, told=Revision(4))
    assert merge.events(1, [event("a", 5), event("a", 6)], fragment=False) == []
    assert merge.waiting
    assert merge.events(2, [event("b", 5)], fragment=False) == []
    assert merge.progress(5) == [Batch(Revision(5), (event("a", 5), event("b", 5)))]
    assert merge.waiting
    assert merge.progress(8) == [Batch(Revision(6), (event("a", 6),)), Batch(Revision(8), ())]
    assert not merge.waiting


def test_an_event_after_its_revision_was_told_is_never_told_late() -> None:
    merge = Merge(watches=2, told=Revision(4))
    merge.progress(7)
    with pytest.raises(OutOfOrderError, match="told after 7"):
        merge.events(1, [event("a", 6)], fragment=False)


def test_progress_from_before_what_was_told_is_nothing() -> None:
    assert Merge(watches=2, told=Revision(9)).progress(8) == []


# Who is next, and with how many events, is drawn from a seed: choice by choice it takes a hundred times as long.
@settings(max_examples=500)
@given(st.lists(st.sets(st.sampled_from(["a1", "a2", "b1", "b2"]), min_size=1), max_size=8), st.integers(0, 2**32))
def test_any_interleaving_of_watches_and_fragments_tells_each_revision_once_whole_and_rising(
    revisions: list[set[str]], seed: int
) -> None:
    random = Random(seed)
    history = dict(enumerate(revisions, start=5))
    queues = {
        watch: [event(key, number) for number, keys in history.items() for key in sorted(keys) if key[0] == prefix]
        for watch, prefix in ((1, "a"), (2, "b"))
    }
    merge = Merge(watches=2, told=Revision(4))
    told: list[Batch] = []
    open_fragment = {1: False, 2: False}
    while any(queues.values()) or any(open_fragment.values()):
        watch = random.choice([one for one in (1, 2) if queues[one] or open_fragment[one]])
        take = random.randint(0, len(queues[watch]))
        part, queues[watch] = queues[watch][:take], queues[watch][take:]
        last = part[-1].revision if part else 0
        split = bool(queues[watch]) and (open_fragment[watch] or not part or queues[watch][0].revision == last)
        open_fragment[watch] = split
        told += merge.events(watch, part, fragment=split)
        in_step = not any(open_fragment.values())
        if in_step and random.random() < 0.5:
            next_untold = min(
                (queue[0].revision for queue in queues.values() if queue), default=max(history, default=4) + 1
            )
            told += merge.progress(next_untold - 1)
    told += merge.progress(max(history, default=4))
    found = {int(batch.revision): {one.key for one in batch.events} for batch in told if batch.events}
    assert found == history
    assert [batch.revision for batch in told if batch.events] == sorted(found)
