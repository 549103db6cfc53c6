"""The leader's loop through its front door: documents in, compiled keys and statuses out, on both stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from policy import compiled, records
from policy.apply import File, apply
from policy.records import LastGood, LogEntry, Pending
from registry import keys
from registry.memory import MemoryStore
from registry.model import Instance, Protocol, State, Tombstone
from registry.names import ServiceName
from registry.records import encode_instance
from registry.store import Compare, Event, Item, Operation, Revision, Store, StoreUnavailableError, Transaction
from tests.policy.leading import controller, leading, published, put, service, status, until
from tests.policy.writing import text

pytestmark = pytest.mark.anyio

ROUTE = text("Route", "{service: api, rules: [{to: [{service: api, labels: {version: v2}, weight: 30}, api]}]}")
TRAFFIC = text("Traffic", "{service: web, timeout: 3s}")


async def events(store: Store, *prefixes: str, start: int, end: int) -> list[Event]:
    """What happened below the prefixes from one revision to another, both included."""
    await store.put("the/end", b"")
    found = []
    async with store.watch(*prefixes, "the/end", start=Revision(start)) as batches:
        async for batch in batches:
            found += [event for event in batch.events if event.revision <= end and event.key != "the/end"]
            if any(event.key == "the/end" for event in batch.events):
                return found
    raise AssertionError("a watch does not end")


def _source(head: Item) -> int:
    return compiled.decode(compiled.Head, head.value)[0].source_revision


async def test_a_put_document_is_compiled_and_its_author_is_told(store: Store) -> None:
    async with leading(store):
        revision = await put(store, "route", "a", ROUTE)
        found = await service(store)
        assert found is not None
        assert [route.name for route in found.routes] == ["a/1"]
        said = await status(store, "shop/route/a")
        assert (said.state, said.in_force, said.revision) == ("accepted", "current", revision)
        assert [note.code for note in said.notes] == ["WEFT0302", "WEFT0304", "WEFT0304"]
        good = await store.get("lastgood/shop/route/a")
        assert good is not None
        assert LastGood.decode(good.key, good.value) == LastGood(revision, ROUTE)
        entry = await store.get(f"log/{revision:020d}/shop/route/a")
        assert entry is not None
        assert records.decode(LogEntry, entry.key, entry.value) == LogEntry(ROUTE.decode(), 1.0)


async def test_rubbish_changes_nothing_but_its_status(store: Store) -> None:
    async with leading(store):
        await put(store, "route", "a", ROUTE)
        before = await store.get("compiled/service/shop/api")
        revision = await put(store, "route", "a", b"kind: Route\n  rubbish: [")
        assert await store.get("compiled/service/shop/api") == before
        said = await status(store, "shop/route/a")
        assert (said.state, said.in_force, said.revision) == ("rejected", "last-good", revision)
        assert [(error.line, error.column, error.code) for error in said.errors] == [(2, 10, "WEFT0003")]
        revision = await put(store, "route", "a", ROUTE + b"# again\n")
        assert (await status(store, "shop/route/a")).state == "accepted"
        assert await store.get("compiled/service/shop/api") == before


async def test_deleting_a_document_takes_everything_back(store: Store) -> None:
    async with leading(store):
        await put(store, "route", "a", ROUTE)
        revision = await store.delete("policy/shop/route/a")
        head = await published(store, revision)
        assert head.changed == ("compiled/service/shop/api",)
        for gone in ("compiled/service/shop/api", "status/policy/shop/route/a", "lastgood/shop/route/a"):
            assert await store.get(gone) is None
        entry = await store.get(f"log/{revision:020d}/shop/route/a")
        assert entry is not None
        assert records.decode(LogEntry, entry.key, entry.value).document is None


async def test_only_what_changed_is_written(store: Store) -> None:
    async with leading(store):
        await put(store, "route", "a", ROUTE)
        before = await store.get("compiled/service/shop/api")
        revision = await put(store, "traffic", "b", TRAFFIC)
        assert await store.get("compiled/service/shop/api") == before
        assert (await published(store, revision)).changed == ("compiled/service/shop/web",)


async def test_a_document_that_changes_no_rule_still_moves_head(store: Store) -> None:
    async with leading(store):
        await put(store, "route", "a", ROUTE)
        revision = await put(store, "route", "a", ROUTE + b"# comment\n")
        head = await published(store, revision)
        assert head.changed == ()


async def test_a_key_that_is_no_documents_is_answered_beside_it(store: Store) -> None:
    async with leading(store):
        await put(store, "route", "a", ROUTE)
        await store.put("policy/Shop/oops", ROUTE)
        said = await status(store, "Shop/oops")
        assert [error.code for error in said.errors] == ["WEFT0107"]
        await store.delete("policy/Shop/oops")
        await until(store, "status/policy/Shop/oops", lambda item: item is None)


async def test_a_large_set_is_published_at_once_and_head_comes_last(store: Store) -> None:
    async with leading(store):
        first = await put(store, "route", "a", ROUTE)
        many = b"---\n".join(text("Traffic", f"{{service: s{at}}}", name=f"t{at}") for at in range(250))
        applied = await apply(store, [File("many", many)])
        head = await published(store, applied.revision)
        written = await store.get(keys.COMPILED_HEAD)
        assert written is not None
        assert head.changed is not None
        assert len(head.changed) == 250
        found = await events(store, "compiled/", start=first + 1, end=written.mod_revision)
        services = [event for event in found if event.key.startswith("compiled/service/shop/s")]
        assert len(services) == 250
        assert min(event.revision for event in services) > applied.revision
        heads = [event for event in found if event.key == keys.COMPILED_HEAD]
        covering = [event.revision for event in heads if event.item and _source(event.item) >= applied.revision]
        assert covering == [written.mod_revision]
        assert max(event.revision for event in services) <= written.mod_revision


async def test_a_set_that_never_ends_keeps_the_old_one_in_force_and_can_be_completed(store: Store) -> None:
    old, new = (text("Traffic", f"{{service: api, timeout: {length}}}", name="a") for length in ("1s", "2s"))
    async with leading(store):
        await apply(store, [File("old", old)])
        await put(store, "traffic", "z", TRAFFIC)
        pending = Pending({"policy/shop/traffic/a": "other", "policy/shop/traffic/b": "other"})
        await store.put("pending/apply-1", records.encode(pending))
        revision = await store.put("policy/shop/traffic/a", new)
        await published(store, revision)
        assert (await status(store, "shop/traffic/a")).state == "accepted"
        revision = await store.delete("pending/apply-1")
        await published(store, revision)
        said = await status(store, "shop/traffic/a")
        assert (said.state, said.in_force, said.errors[0].code) == ("incomplete", "last-good", "WEFT0307")
        found = await service(store)
        assert found is not None
        assert found.traffic.timeout_ms == 1_000
    async with leading(store, leader="ctl-2"):
        await put(store, "traffic", "y", text("Traffic", "{service: y}"))
        assert (await status(store, "shop/traffic/a")).state == "incomplete"
        applied = await apply(store, [File("new", new)])
        assert applied.results[0][1] == "changed"
        await published(store, applied.revision)
        found = await service(store)
        assert found is not None
        assert found.traffic.timeout_ms == 2_000


async def test_what_services_speak_is_compiled_and_remembered(store: Store) -> None:
    instance = Instance(ServiceName("shop", "api"), "i", "h", "10.0.0.1:7502", 80, Protocol.GRPC, State.UP)
    key = keys.instance(instance.service, "i")
    async with leading(store):
        await put(store, "route", "a", ROUTE)
        revision = await store.put(key, encode_instance(instance))
        await published(store, revision)
        found = await service(store)
        assert found is not None
        assert found.protocol == "grpc"
        await store.put(key, encode_instance(Tombstone("deregistered", 1.0)))
        await until(store, "status/policy/shop/route/a", lambda item: item is not None and b"WEFT0302" in item.value)
        found = await service(store)
        assert found is not None
        assert found.protocol == "grpc"


async def test_a_new_leader_compiles_all_and_logs_what_it_missed(store: Store) -> None:
    async with leading(store):
        await put(store, "route", "a", ROUTE)
        await put(store, "traffic", "gone", TRAFFIC)
        before = await store.get("compiled/service/shop/api")
    await store.delete("policy/shop/traffic/gone")
    await store.put("compiled/service/shop/stray", b"rubbish")
    revision = await store.put("policy/shop/route/a", b"rubbish: [")
    async with leading(store, leader="ctl-2"):
        head = await published(store, revision)
        assert head.changed is None
        assert await store.get("compiled/service/shop/api") == before
        assert await store.get("compiled/service/shop/stray") is None
        assert await store.get("compiled/service/shop/web") is None
        entries = [item for item in (await store.list(keys.LOG)).items if item.key.split("/")[1] >= f"{revision:020d}"]
        logged = {item.key.split("/", 2)[2]: records.decode(LogEntry, item.key, item.value) for item in entries}
        assert logged == {
            "shop/route/a": LogEntry("rubbish: [", 1.0, gap=True),
            "shop/traffic/gone": LogEntry(None, 1.0, gap=True),
        }
        assert (await controller(store, lambda said: said.leader == "ctl-2")).source_revision == head.source_revision


async def test_a_deposed_leader_writes_nothing(store: Store) -> None:
    async with leading(store) as leadership:
        await put(store, "route", "a", ROUTE)
        head = await store.get(keys.COMPILED_HEAD)
        await store.delete(leadership.key)
        await store.put("policy/shop/traffic/b", TRAFFIC)
        await until(store, keys.STATUS_CONTROLLER, lambda item: item is not None)
        async with leading(store, leader="ctl-2"):
            await controller(store, lambda said: said.leader == "ctl-2")
            await put(store, "traffic", "b", TRAFFIC)
            after = await store.get(keys.COMPILED_HEAD)
            assert head is not None
            assert after is not None
            found = await events(store, keys.STATUS_CONTROLLER, start=head.mod_revision + 1, end=after.mod_revision)
            leaders = {records.decode(records.ControllerStatus, e.key, e.item.value).leader for e in found if e.item}
            assert leaders == {"ctl-2"}


async def test_a_head_that_somebody_else_wrote_is_written_again(store: Store) -> None:
    async with leading(store):
        await put(store, "route", "a", ROUTE)
        await store.put(keys.COMPILED_HEAD, b"rubbish")
        revision = await store.put("policy/shop/traffic/b", TRAFFIC)
        item = await until(store, keys.COMPILED_HEAD, lambda item: item is not None and item.value != b"rubbish")
        assert item is not None
        assert compiled.decode(compiled.Head, item.value)[0].source_revision >= revision


async def test_a_barrier_makes_the_leader_say_how_far_it_has_looked(store: Store) -> None:
    async with leading(store):
        await put(store, "route", "a", ROUTE)
        head = await store.get(keys.COMPILED_HEAD)
        revision = await store.put("barrier/x", b"{}")
        said = await controller(store, lambda said: said.seen >= revision)
        assert said.source_revision < revision
        assert await store.get(keys.COMPILED_HEAD) == head


async def test_a_dry_run_is_judged_against_the_live_set_and_published_nowhere(store: Store) -> None:
    async with leading(store):
        await put(store, "traffic", "a", text("Traffic", "{service: api}"))
        await store.put("dryrun/shop/traffic/b", text("Traffic", "{service: api, timeout: 1s}"))
        assert (await status(store, "shop/traffic/b", prefix=keys.STATUS_DRYRUN)).state == "shadowed"
        await store.put("dryrun/shop/traffic/a", text("Traffic", "{service: web}"))
        await until(
            store, "status/dryrun/shop/traffic/b", lambda item: item is not None and b'"accepted"' in item.value
        )
        found = await service(store)
        assert found is not None
        assert await store.get("compiled/service/shop/web") is None
        await store.delete("dryrun/", prefix=True)
        await until(store, "status/dryrun/shop/traffic/b", lambda item: item is None)


async def test_a_burst_is_gathered_into_few_publications(store: Store) -> None:
    async with leading(store):
        first = await put(store, "route", "a", ROUTE)
        for at in range(100):
            last = await store.put("policy/shop/traffic/b", text("Traffic", f"{{service: web, timeout: {at + 1}s}}"))
        await published(store, last)
        found = await service(store, "shop/web")
        assert found is not None
        assert found.traffic.timeout_ms == 100_000
        head = await store.get(keys.COMPILED_HEAD)
        assert head is not None
        heads = await events(store, keys.COMPILED_HEAD, start=first + 1, end=head.mod_revision)
        assert 1 <= len(heads) < 50


async def test_the_rollout_is_counted(store: Store) -> None:
    await store.put(keys.roster("vm-1"), b"{}")
    async with leading(store):
        revision = await put(store, "route", "a", ROUTE)
        item = await until(
            store,
            keys.STATUS_ROLLOUT,
            lambda item: (
                item is not None and records.decode(records.RolloutStatus, item.key, item.value).revision >= revision
            ),
        )
        assert item is not None
        assert records.decode(records.RolloutStatus, item.key, item.value).silent == ("vm-1",)


class Unreliable(MemoryStore):
    """A store that fails while it is down, and whose writes may have happened although they failed."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.lose_answers = 0

    async def transact(
        self, guards: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Transaction:
        if self.down:
            raise StoreUnavailableError("nobody answers")
        done = await super().transact(guards, then, otherwise)
        if self.lose_answers:
            self.lose_answers -= 1
            raise StoreUnavailableError("the answer was lost")
        return done


async def test_a_publication_waits_for_the_store_and_survives_lost_answers() -> None:
    store = Unreliable()
    async with leading(store):
        await put(store, "route", "a", ROUTE)
        store.down = True
        revision = await store.put("policy/shop/traffic/b", TRAFFIC)
        await asyncio.sleep(0)
        store.lose_answers = 2
        store.down = False
        await published(store, revision)
        found = await service(store, "shop/web")
        assert found is not None
        assert found.traffic.timeout_ms == 3_000
        assert (await status(store, "shop/traffic/b")).state == "accepted"
    await store.close()


async def test_a_fault_that_has_ended_says_so_by_itself() -> None:
    store = MemoryStore()
    now = [1.0]
    async with leading(store, clock=lambda: now[0]):
        await put(
            store,
            "fault",
            "f",
            b"""apiVersion: weft/v1
kind: Fault
spec: {service: api, abort: 503, until: "1970-01-01T00:01:00Z"}
""",
        )

        def says(code: str) -> Callable[[Item | None], bool]:
            return lambda item: item is not None and code.encode() in item.value

        key = keys.STATUS_POLICY + "shop/fault/f"
        assert not says("WEFT0311")(await until(store, key, lambda item: item is not None))
        now[0] = 60.0
        await until(store, key, says("WEFT0311"))
        found = await service(store)
        assert found is not None
        assert [fault.until_ms for fault in found.faults] == [60_000]
    await store.close()


async def test_a_defect_costs_one_publication_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    async with leading(store):
        await put(store, "route", "a", ROUTE)

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("a defect")

        monkeypatch.setattr("policy.publish.compile_documents", broken)
        await store.put("policy/shop/traffic/b", TRAFFIC)
        said = await controller(store, lambda said: bool(said.last_error))
        assert said.last_error == "RuntimeError: a defect"
        assert await service(store) is not None
        monkeypatch.undo()
        await put(store, "traffic", "b", TRAFFIC + b"# again\n")
        assert (await controller(store, lambda said: not said.last_error)).counts["accepted"] == 2
    await store.close()
