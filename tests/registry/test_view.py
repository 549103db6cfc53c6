"""A view is the same however it was folded, and loses nothing that was not said to be gone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from registry import keys
from registry.model import Endpoint, Host, Instance, Presence, Protocol, State, Tombstone
from registry.names import ServiceName
from registry.presence import FORGET_AFTER
from registry.records import encode_host, encode_instance
from registry.store import Batch, Event, Item, Listing, Revision
from registry.view import ServiceInfo, View

API = ServiceName("default", "api")
WEB = ServiceName("default", "web")


def instance(service: ServiceName = API, name: str = "i1", host: str = "h1", **changes: object) -> Instance:
    made = Instance(service, name, host, "127.0.0.1:7502", 8080, Protocol.HTTP, State.UP)
    return replace(made, **changes)  # type: ignore[arg-type]


def host(name: str, zone: str = "") -> bytes:
    return encode_host(Host(name, "boot", ("127.0.0.1",), zone, {}, "owner"))


@dataclass
class Etcd:
    """A store's keys and history, with what a reader of it would be told."""

    revision: int = 1
    items: dict[str, Item] = field(default_factory=dict)

    def write(self, values: dict[str, bytes | None]) -> Batch:
        self.revision += 1
        now = Revision(self.revision)
        events = []
        for key, value in sorted(values.items()):
            old = self.items.pop(key, None)
            if value is not None:
                created = old.create_revision if old else now
                self.items[key] = Item(key, value, created, now, old.version + 1 if old else 1)
            if value is not None or old is not None:
                events.append(Event(key, now, self.items.get(key)))
        return Batch(now, tuple(events))

    def listing(self) -> Listing:
        return Listing(Revision(self.revision), tuple(item for _, item in sorted(self.items.items())))


def presences(view: View, service: ServiceName = API, *, now: float = 0.0) -> dict[str, Presence]:
    return {endpoint.instance: endpoint.presence for endpoint in view.endpoints(service, now=now)}


def test_an_instance_lost_with_its_host_is_suspect_and_forgotten_after_ten_minutes() -> None:
    etcd = Etcd()
    key = keys.instance(API, "i1")
    view = View.empty().apply(etcd.write({key: encode_instance(instance()), keys.host("h1"): host("h1", "z1")}), now=0)
    assert presences(view) == {"i1": Presence.CONFIRMED}
    view = view.apply(etcd.write({key: None, keys.host("h1"): None}), now=100)
    assert presences(view, now=100) == {"i1": Presence.SUSPECT}
    assert view.endpoints(API, now=100)[0].zone == "z1"
    assert presences(view, now=99 + FORGET_AFTER) == {"i1": Presence.SUSPECT}
    assert presences(view, now=100 + FORGET_AFTER) == {}


def test_a_suspect_is_gone_when_its_host_comes_back_without_it_and_confirmed_when_it_comes_back_with_it() -> None:
    etcd = Etcd()
    both: dict[str, bytes | None] = {
        keys.instance(API, name): encode_instance(instance(name=name)) for name in ("i1", "i2")
    }
    view = View.empty().apply(etcd.write({**both, keys.host("h1"): host("h1")}), now=0)
    view = view.apply(etcd.write({**dict.fromkeys(both), keys.host("h1"): None}), now=1)
    assert presences(view) == {"i1": Presence.SUSPECT, "i2": Presence.SUSPECT}
    view = view.apply(etcd.write({keys.instance(API, "i1"): encode_instance(instance())}), now=2)
    assert presences(view) == {"i1": Presence.CONFIRMED, "i2": Presence.SUSPECT}
    view = view.apply(etcd.write({keys.host("h1"): host("h1")}), now=3)
    assert presences(view) == {"i1": Presence.CONFIRMED}


def test_a_tombstone_ends_an_instance_at_once() -> None:
    etcd = Etcd()
    key = keys.instance(API, "i1")
    view = View.empty().apply(etcd.write({key: encode_instance(instance())}), now=0)
    view = view.apply(etcd.write({key: encode_instance(Tombstone("deregistered", 1.0))}), now=1)
    assert presences(view) == {}
    assert presences(view.apply(etcd.write({key: None}), now=700), now=700) == {}


def test_a_relist_tells_losses_as_events_would() -> None:
    etcd = Etcd()
    written: dict[str, bytes | None] = {
        keys.instance(API, "i1"): encode_instance(instance()),
        keys.host("h1"): host("h1"),
    }
    written[keys.instance(API, "i2")] = encode_instance(instance(name="i2", host="h2"))
    view = View.empty().apply(etcd.write(written), now=0)
    etcd.write(dict.fromkeys(written))
    relisted = view.relist(etcd.listing(), now=5)
    assert presences(relisted) == {"i1": Presence.SUSPECT, "i2": Presence.SUSPECT}
    etcd.write({keys.host("h1"): host("h1")})
    assert presences(relisted.relist(etcd.listing(), now=6)) == {"i2": Presence.SUSPECT}
    assert presences(view.relist(etcd.listing(), now=6)) == {"i2": Presence.SUSPECT}


def test_a_record_that_cannot_be_read_leaves_what_was_known() -> None:
    etcd = Etcd()
    key = keys.instance(API, "i1")
    view = View.empty().apply(etcd.write({key: encode_instance(instance())}), now=0)
    view = view.apply(etcd.write({key: b"rubbish", "registry/odd": b"x"}), now=1)
    assert presences(view) == {"i1": Presence.CONFIRMED}
    assert set(view.invalid) == {key, "registry/odd"}
    assert View.empty().relist(etcd.listing(), now=1).services() == {}
    assert not view.apply(etcd.write({key: encode_instance(instance()), "registry/odd": None}), now=2).invalid


def test_a_service_is_described_by_its_oldest_instance_and_all_their_labels() -> None:
    etcd = Etcd()
    view = View.empty()
    view = view.apply(
        etcd.write({keys.instance(API, "z"): encode_instance(instance(name="z", labels={"a": "1"}))}), now=0
    )
    other = instance(name="b", protocol=Protocol.TCP, version="v2", labels={"c": "1"})
    view = view.apply(etcd.write({keys.instance(API, "b"): encode_instance(other)}), now=0)
    info = view.services()[API]
    assert info == ServiceInfo(Protocol.HTTP, frozenset({"a", "c", "version"}), 2)


def test_a_relist_forgets_what_is_gone_and_what_was_unreadable() -> None:
    etcd = Etcd()
    key = keys.instance(API, "i1")
    view = View.empty().apply(etcd.write({key: encode_instance(instance()), "registry/odd": b"x"}), now=0)
    view = view.apply(etcd.write({key: None, "registry/odd": None}), now=0).relist(etcd.listing(), now=1)
    assert set(view.services()) == {API}
    etcd.write({"hosts/other": host("other")})
    view = view.relist(etcd.listing(), now=FORGET_AFTER)
    assert (dict(view.services()), dict(view.invalid)) == ({}, {})


def test_endpoints_are_the_same_object_until_something_of_them_changes() -> None:
    etcd = Etcd()
    api, web = keys.instance(API, "i1"), keys.instance(WEB, "w1")
    view = View.empty()
    at_first = {api: encode_instance(instance()), web: encode_instance(instance(WEB, "w1", "h2"))}
    view = view.apply(etcd.write({**at_first, keys.host("h1"): host("h1", "a")}), now=0.0)
    known, others = view.endpoints(API, now=0.0), view.endpoints(WEB, now=0.0)
    view = view.apply(etcd.write({web: encode_instance(instance(WEB, "w1", "h2", weight=7))}), now=1.0)
    assert view.endpoints(API, now=1.0) is known
    assert view.endpoints(WEB, now=1.0) != others
    view = view.apply(etcd.write({keys.host("h3"): host("h3")}), now=1.0)
    assert view.endpoints(API, now=1.0) is known, "another host is none of its business"
    view = view.apply(etcd.write({keys.host("h1"): host("h1", "b")}), now=1.0)
    assert [one.zone for one in view.endpoints(API, now=1.0)] == ["b"]
    view = view.apply(etcd.write({api: None, keys.host("h1"): None}), now=2.0)
    assert [one.presence for one in view.endpoints(API, now=2.0)] == [Presence.SUSPECT]
    assert view.endpoints(API, now=2.0 + FORGET_AFTER + 1) == (), "time passes for what was lost"


def test_batches_at_or_below_the_applied_revision_change_nothing() -> None:
    etcd = Etcd()
    batch = etcd.write({keys.instance(API, "i1"): encode_instance(instance())})
    view = View.empty().apply(batch, now=0)
    assert view.apply(Batch(batch.revision, ()), now=1) is view
    assert view.apply(Batch(Revision(1), (Event(keys.instance(API, "i1"), Revision(1), None),)), now=1) is view


NAMES = st.sampled_from(["i1", "i2", "i3"])
HOSTS = st.sampled_from(["h1", "h2"])
SERVICES = st.sampled_from([API, WEB])


@st.composite
def writes(draw: st.DrawFn) -> dict[str, bytes | None]:
    """One transaction: instances appear, change, end with a tombstone or vanish; hosts come and go."""
    found: dict[str, bytes | None] = {}
    for _ in range(draw(st.integers(1, 3))):
        service, name, machine = draw(SERVICES), draw(NAMES), draw(HOSTS)
        match draw(st.sampled_from(["put", "vanish", "tombstone", "host", "no host"])):
            case "put":
                record = instance(service, name, machine, weight=draw(st.integers(0, 9)))
                found[keys.instance(service, name)] = encode_instance(record)
            case "vanish":
                found[keys.instance(service, name)] = None
            case "tombstone":
                found[keys.instance(service, name)] = encode_instance(Tombstone("deregistered", 0.0))
            case "host":
                found[keys.host(machine)] = host(machine, draw(st.sampled_from(["", "z"])))
            case _:
                found[keys.host(machine)] = None
    return found


def confirmed(view: View) -> list[Endpoint]:
    found = [one for service in (API, WEB) for one in view.endpoints(service, now=0.0)]
    return [replace(one, zone="") for one in found if one.presence is Presence.CONFIRMED]


@given(st.lists(st.tuples(writes(), st.booleans(), st.booleans()), max_size=12))
def test_any_mix_of_batches_and_relists_confirms_what_a_fresh_list_holds(
    steps: list[tuple[dict[str, bytes | None], bool, bool]],
) -> None:
    etcd = Etcd()
    view = View.empty()
    away = False
    for values, disconnected, duplicated in steps:
        batch = etcd.write(values)
        if not batch.events:
            etcd.revision -= 1  # a store's revision rises only with a change
            continue
        if disconnected:
            away = True
            continue
        view = view.relist(etcd.listing(), now=0.0) if away else view.apply(batch, now=0.0)
        away = False
        if duplicated:
            view = view.apply(batch, now=0.0)
        fresh = View.empty().relist(etcd.listing(), now=0.0)
        assert view.revision == fresh.revision
        assert confirmed(view) == confirmed(fresh)


@given(st.lists(writes(), max_size=12))
def test_only_a_tombstone_its_host_or_time_makes_an_instance_go(steps: list[dict[str, bytes | None]]) -> None:
    etcd = Etcd()
    view = View.empty()
    for values in steps:
        before = {(one.service, one.instance): one.host for s in (API, WEB) for one in view.endpoints(s, now=0.0)}
        view = view.apply(etcd.write(values), now=0.0)
        after = {(one.service, one.instance) for s in (API, WEB) for one in view.endpoints(s, now=0.0)}
        for (service, name), machine in before.items():
            if (service, name) not in after:
                said = b"gone" in (values.get(keys.instance(service, name)) or b"")
                assert said or values.get(keys.host(machine)) is not None
