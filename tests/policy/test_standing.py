"""What `weft status` says, from one listing."""

from __future__ import annotations

from policy import compiled, records
from policy.dryrun import LIFE, DryRuns
from policy.records import ControllerStatus
from policy.rollout import Ack, Refused, Rollout, Served
from policy.standing import HostRow, rollout_status, standing
from registry import keys, layout
from registry.keys import DocumentKey
from registry.model import Host, Instance, Protocol, State
from registry.names import ServiceName
from registry.records import encode_host, encode_instance
from registry.store import Delete, Item, Listing, Revision


def item(key: str, value: bytes, revision: int = 1) -> Item:
    return Item(key, value, Revision(revision), Revision(revision), 1)


def instance(service: str, id_: str, state: State) -> Item:
    found = Instance(ServiceName("shop", service), id_, "vm-1", "10.0.0.1:7502", 80, Protocol.HTTP, state)
    return item(keys.instance(found.service, id_), encode_instance(found))


def host(name: str) -> Item:
    return item(keys.host(name), encode_host(Host(name, "boot", ("10.0.0.1",), "", {"engine": "0.1.0"}, "owner")))


def listing(*items: Item) -> Listing:
    head = compiled.encode(compiled.Head(7, "digest"), source_revision=Revision(7))
    controller = ControllerStatus("ctl-1", 7, 8, at=100.0)
    return Listing(
        Revision(9),
        (
            item(keys.META_LAYOUT, layout.encode(layout.Layout.new("corp", "ams1"))),
            item(keys.COMPILED_HEAD, head),
            item(keys.STATUS_CONTROLLER, records.encode(controller)),
            *items,
        ),
    )


def test_a_mesh_where_everyone_serves_everything_is_well() -> None:
    ack = Ack(7, 1, certificates={"spiffe://corp/x": Served("01", 500.0), "spiffe://corp/y": Served("02", 400.0)})
    found = standing(
        listing(
            item(keys.roster("vm-1"), b"{}"),
            host("vm-1"),
            item(keys.ack("vm-1"), ack.encode()),
            instance("api", "1", State.UP),
        ),
        now=160.0,
    )
    assert found.well
    assert (found.mesh, found.revision, found.leader, found.policy, found.published_at) == (
        "corp",
        9,
        "ctl-1",
        7,
        100.0,
    )
    assert found.hosts == (HostRow("vm-1", 7, 0.0, "0.1.0", 400.0, "etcd", ""),)
    assert found.services == {ServiceName("shop", "api"): "up"}


def test_every_host_that_is_not_well_says_why() -> None:
    refused = Ack(7, 1, refused=(Refused("service/shop/api", "bad_regex"),))
    found = standing(
        listing(
            *(item(keys.roster(name), b"{}") for name in ("behind", "refusing", "silent")),
            host("behind"),
            host("refusing"),
            item(keys.ack("behind"), Ack(5, 1).encode()),
            item(keys.ack("refusing"), refused.encode()),
        ),
        now=160.0,
    )
    assert not found.well
    assert [(row.host, row.policy, row.lag, row.note) for row in found.hosts] == [
        ("behind", 5, 60.0, "behind"),
        ("refusing", 7, 0.0, "refuses service/shop/api bad_regex"),
        ("silent", 0, 0.0, "silent"),
    ]


def test_services_are_up_degraded_or_down() -> None:
    found = standing(
        listing(
            instance("a", "1", State.UP),
            instance("a", "2", State.DRAIN),
            instance("b", "1", State.UP),
            instance("b", "2", State.STARTING),
            instance("c", "1", State.DOWN),
            item("registry/shop/d/1", b"rubbish"),
        ),
        now=160.0,
    )
    assert {str(service): state for service, state in found.services.items()} == {
        "shop/a": "up",
        "shop/b": "degraded",
        "shop/c": "down",
    }
    assert not found.well


def test_a_mesh_without_anything_has_no_leader_and_is_not_well() -> None:
    found = standing(Listing(Revision(1), ()), now=1.0)
    assert (found.mesh, found.leader, found.published_at, found.well) == ("", "", None, False)


def test_the_stored_rollout_counts_everyone_and_names_a_hundred() -> None:
    found = rollout_status(
        Rollout(7, True, current=("a", "b"), behind={f"vm-{at:03}": 1 for at in range(150)}, silent=("s",))
    )
    assert (found.roster, found.acked, len(found.behind), found.silent) == (153, 2, 100, ("s",))


def test_a_dry_run_is_swept_an_hour_after_it_was_last_written() -> None:
    key = DocumentKey("shop", "route", "a")
    runs = DryRuns()
    assert runs.expired({key: item("dryrun/shop/route/a", b"", 1)}, now=0.0) == []
    assert runs.expired({key: item("dryrun/shop/route/a", b"", 2)}, now=LIFE) == []
    assert runs.expired({key: item("dryrun/shop/route/a", b"", 2)}, now=2 * LIFE) == []
    assert runs.expired({key: item("dryrun/shop/route/a", b"", 2)}, now=2 * LIFE + 1) == [Delete("dryrun/shop/route/a")]
    assert runs.expired({}, now=2 * LIFE + 2) == []
