"""Compiled policy is taken up to head, whole publications at a time."""

from __future__ import annotations

from policy import compiled
from policy.compiled import Access, Gateway, Head, Mesh, Service
from proxy.follow import Published
from registry import keys
from registry.names import ServiceName
from registry.store import Event, Item, Revision

API = ServiceName("shop", "api")
KEY = keys.compiled_service(API)
DENY = Service(access=Access(default="deny"))


def item(key: str, value: compiled.Compiled, source: int) -> Item:
    at = Revision(source + 1000)
    return Item(key, compiled.encode(value, source_revision=Revision(source)), at, at, 1)


def head(revision: int) -> Item:
    return item(keys.COMPILED_HEAD, Head(revision, "digest"), revision)


def put(stored: Item) -> Event:
    return Event(stored.key, stored.mod_revision, stored)


def gone(key: str) -> Event:
    return Event(key, Revision(5000), None)


def test_what_is_newer_than_head_is_held_until_head_reaches_it() -> None:
    published = Published().relist([item(KEY, Service(), 10), head(10)])
    held = published.apply([put(item(KEY, DENY, 20))])
    assert (held.services[API], held.revision) == (Service(), 10)
    done = held.apply([put(head(20))])
    assert (done.services[API], done.revision) == (DENY, 20)


def test_a_publication_in_one_transaction_is_taken_at_once() -> None:
    published = Published().apply([put(item(KEY, DENY, 20)), put(head(20))])
    assert published.services[API] == DENY


def test_a_deletion_waits_for_the_head_that_follows_it() -> None:
    published = Published().relist([item(KEY, DENY, 10), head(10)])
    held = published.apply([gone(KEY)])
    assert API in held.services
    assert API not in held.apply([put(head(11))]).services


def test_who_starts_in_the_middle_waits_and_then_takes_what_there_is() -> None:
    published = Published().relist([item(KEY, DENY, 20), head(10)])
    assert published.incomplete
    assert API not in published.services
    taken = published.take()
    assert taken.services[API] == DENY
    assert not taken.incomplete


def test_who_knew_the_older_value_goes_on_with_it() -> None:
    known = Published().relist([item(KEY, Service(), 10), head(10)])
    published = known.relist([item(KEY, DENY, 20), head(10)])
    assert published.services[API] == Service()
    assert not published.incomplete


def test_a_relisting_without_a_key_deletes_it() -> None:
    known = Published().relist([item(KEY, DENY, 10), head(10)])
    assert known.relist([head(12)]).services == {}


def test_a_store_that_went_back_in_time_is_taken_as_it_is() -> None:
    known = Published().relist([item(KEY, DENY, 30), head(30)])
    back = known.relist([item(KEY, Service(), 10), head(10)])
    assert (back.revision, back.services[API]) == (10, Service())


def test_a_value_that_cannot_be_read_leaves_the_one_before_in_force() -> None:
    known = Published().relist([item(KEY, DENY, 10), head(10)])
    broken = Item(KEY, b"rubbish", Revision(1), Revision(2000), 2)
    after = known.apply([put(broken)])
    assert after.services[API] == DENY
    assert KEY in after.invalid
    mended = after.apply([put(item(KEY, Service(), 20)), put(head(20))])
    assert (mended.services[API], mended.invalid) == (Service(), {})


def test_gateways_and_the_mesh_are_followed_too() -> None:
    gateway = item(keys.compiled_gateway("edge"), Gateway(max_body=7), 3)
    mesh = item(keys.COMPILED_MESH, Mesh(namespaces={"shop": compiled.Base(access="deny")}), 3)
    published = Published().apply([put(gateway), put(mesh), put(head(3))])
    assert published.gateways["edge"].max_body == 7
    assert published.mesh.namespaces["shop"].access == "deny"


def test_events_of_other_prefixes_change_nothing() -> None:
    published = Published()
    assert published.apply([gone("registry/shop/api/api-1")]) is published
