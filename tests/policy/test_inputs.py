"""The fold of the store's keys into what the compiler works from, unfinished sets above all."""

from __future__ import annotations

from hashlib import sha256

from policy import records
from policy.inputs import Change, Changed, Inputs
from policy.records import DocumentStatus, LastGood, Pending
from registry import keys
from registry.keys import DocumentKey
from registry.model import Instance, Protocol, State, Tombstone
from registry.names import ServiceName
from registry.records import encode_instance
from registry.store import Batch, Event, Item, Listing, Revision

A, B = DocumentKey("shop", "route", "a"), DocumentKey("shop", "route", "b")
PENDING = keys.pending("apply-1")


def put(key: str, value: bytes, revision: int, *, created: int = 0, version: int = 1) -> Event:
    return Event(key, Revision(revision), Item(key, value, Revision(created or revision), Revision(revision), version))


def document(key: DocumentKey, value: bytes, revision: int, *, created: int = 0, version: int = 1) -> Event:
    return put(keys.document(keys.POLICY, key), value, revision, created=created, version=version)


def deleted(key: str, revision: int) -> Event:
    return Event(key, Revision(revision), None)


def batch(*events: Event) -> Batch:
    return Batch(events[0].revision, events)


def listing(revision: int, *events: Event) -> Listing:
    return Listing(Revision(revision), tuple(event.item for event in events if event.item))


def pending(revision: int, **documents: bytes) -> Event:
    digests = {f"policy/shop/route/{name}": sha256(value).hexdigest() for name, value in documents.items()}
    return put(PENDING, records.encode(Pending(digests)), revision)


def held(inputs: Inputs) -> dict[str, tuple[bool, bool]]:
    return {one.key.name: (one.held, one.expired) for one in inputs.stored({})}


def test_documents_are_stored_with_their_ages_and_last_good_versions() -> None:
    inputs = Inputs()
    assert inputs.relist(listing(9, document(A, b"two", 7, created=3, version=2))) == Changed.POLICY
    good = LastGood(3, b"one")
    (one,) = inputs.stored({A: good, B: good})
    assert (one.key, one.document, one.created, one.modified, one.last_good) == (A, b"two", 3, 7, good)
    assert inputs.revision == 9


def test_only_changes_after_the_first_listing_are_logged() -> None:
    inputs = Inputs()
    inputs.relist(listing(9, document(A, b"one", 7)))
    assert inputs.changes == []
    inputs.apply(batch(document(A, b"two", 10, created=7, version=2)))
    inputs.apply(batch(deleted(keys.document(keys.POLICY, A), 11)))
    assert inputs.changes == [Change(A, 10, b"two"), Change(A, 11, None)]


def test_a_relisting_logs_the_difference_and_says_where_something_was_missed() -> None:
    inputs = Inputs()
    inputs.relist(listing(9, document(A, b"one", 7), document(B, b"one", 8)))
    inputs.relist(listing(20, document(A, b"two", 12, created=7, version=2)))
    inputs.relist(listing(30, document(A, b"five", 25, created=7, version=5)))
    assert inputs.changes == [
        Change(B, 20, None, gap=True),
        Change(A, 12, b"two"),
        Change(A, 25, b"five", gap=True),
    ]
    assert list(inputs.documents) == [A]


def test_what_was_touched_is_told_apart() -> None:
    inputs = Inputs()
    instance = Instance(ServiceName("shop", "api"), "i", "h", "10.0.0.1:7502", 80, Protocol.HTTP, State.UP)
    key = keys.instance(instance.service, "i")
    assert inputs.apply(batch(document(A, b"", 2))) == Changed.POLICY
    assert inputs.apply(batch(put("dryrun/shop/route/a", b"", 3))) == Changed.DRYRUN
    assert inputs.apply(batch(put("barrier/x", b"", 4))) == Changed.BARRIER
    assert inputs.apply(batch(put(key, encode_instance(instance), 5))) == Changed.SERVICES
    assert inputs.apply(batch(put(key, encode_instance(instance), 6))) == Changed.NOTHING
    assert set(inputs.services()) == {instance.service}
    assert inputs.apply(batch(put(key, encode_instance(Tombstone("deregistered", 1.0)), 7))) == Changed.SERVICES
    assert inputs.services() == {}
    assert inputs.apply(batch(put(key, b"rubbish", 8))) == Changed.NOTHING


def test_a_misplaced_key_is_kept_apart() -> None:
    inputs = Inputs()
    assert inputs.apply(batch(put("policy/Shop/route", b"", 2))) == Changed.POLICY
    assert list(inputs.misplaced) == ["policy/Shop/route"]
    inputs.apply(batch(deleted("policy/Shop/route", 3)))
    assert inputs.misplaced == {}


def test_what_a_set_has_written_so_far_is_held() -> None:
    inputs = Inputs()
    inputs.relist(listing(9, document(A, b"old", 5), document(B, b"old", 6)))
    inputs.apply(batch(pending(10, a=b"new", b=b"new")))
    inputs.apply(batch(document(A, b"new", 11, created=5, version=2)))
    assert held(inputs) == {"a": (True, False), "b": (False, False)}


def test_a_set_is_complete_when_its_key_goes_with_one_of_its_documents() -> None:
    inputs = Inputs()
    inputs.apply(batch(pending(10, a=b"new", b=b"new")))
    inputs.apply(batch(document(A, b"new", 11)))
    inputs.apply(batch(deleted(PENDING, 12), document(B, b"new", 12)))
    assert held(inputs) == {"a": (False, False), "b": (False, False)}


def test_a_set_whose_key_goes_alone_expires_and_stays_held() -> None:
    inputs = Inputs()
    inputs.apply(batch(pending(10, a=b"new", b=b"new")))
    inputs.apply(batch(document(A, b"new", 11)))
    inputs.apply(batch(deleted(PENDING, 12)))
    assert held(inputs) == {"a": (True, True)}


def test_a_document_of_an_expired_set_is_free_once_it_is_written_again() -> None:
    inputs = Inputs()
    inputs.apply(batch(pending(10, a=b"new", b=b"new")))
    inputs.apply(batch(document(A, b"new", 11)))
    inputs.apply(batch(deleted(PENDING, 12)))
    inputs.apply(batch(document(A, b"new", 13, created=11, version=2)))
    assert held(inputs) == {"a": (False, False)}


def test_a_second_set_completes_what_an_expired_one_began() -> None:
    inputs = Inputs()
    inputs.apply(batch(pending(10, a=b"new", b=b"new")))
    inputs.apply(batch(document(A, b"new", 11)))
    inputs.apply(batch(deleted(PENDING, 12)))
    inputs.apply(batch(pending(13, a=b"new", b=b"new")))
    inputs.apply(batch(deleted(PENDING, 14), document(B, b"new", 14)))
    assert held(inputs) == {"a": (False, False), "b": (False, False)}


def test_whether_a_set_ended_well_while_nobody_looked_is_told_by_its_documents() -> None:
    for last, expected in ((b"new", (False, False)), (b"else", (True, True))):
        inputs = Inputs()
        inputs.relist(listing(10, pending(10, a=b"new")))
        inputs.relist(listing(20, document(A, last, 15)))
        assert held(inputs) == {"a": expected}


def test_a_new_leader_remembers_which_documents_an_expired_set_left() -> None:
    inputs = Inputs()
    inputs.relist(listing(20, document(A, b"new", 15), document(B, b"new", 16)))
    inputs.remember_expired({A: DocumentStatus("incomplete", 15, "none"), B: DocumentStatus("incomplete", 14, "none")})
    assert held(inputs) == {"a": (True, True), "b": (False, False)}
