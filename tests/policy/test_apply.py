"""Writing documents: what is validated, what is written, and as one set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from policy import records
from policy.apply import ConflictError, File, InvalidDocuments, apply, delete, get
from policy.records import DocumentStatus, Pending
from registry import keys
from registry.keys import DocumentKey
from registry.memory import MemoryStore
from registry.store import Batch, Compare, Operation, Revision, Transaction
from tests.policy.writing import text

pytestmark = pytest.mark.anyio

ROUTE = DocumentKey("shop", "route", "a")
GOOD = text("Route", "{service: api, rules: [{}]}", name="a")


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    opened = MemoryStore()
    yield opened
    await opened.close()


def many(count: int, length: str = "1s") -> File:
    return File(
        "many.yaml",
        b"---\n".join(text("Traffic", f"{{service: s{at}, timeout: {length}}}", name=f"t{at}") for at in range(count)),
    )


async def test_bytes_are_stored_as_written_with_their_comments(store: MemoryStore) -> None:
    written = b"# why\n---\n" + GOOD + b"# after\n"
    applied = await apply(store, [File("a.yaml", written)])
    assert applied.results == ((ROUTE, "created"),)
    item = await store.get("policy/shop/route/a")
    assert item is not None
    assert (item.value, item.mod_revision) == (written, applied.revision)


async def test_each_document_is_created_changed_or_unchanged(store: MemoryStore) -> None:
    first = await apply(store, [File("a.yaml", GOOD)])
    again = await apply(store, [File("a.yaml", GOOD)])
    assert again.results == ((ROUTE, "unchanged"),)
    assert again.revision == first.revision
    both = [File("a.yaml", GOOD + b"# more\n"), File("b.yaml", text("Traffic", "{service: api}", name="b"))]
    third = await apply(store, both)
    assert [result for _, result in third.results] == ["changed", "created"]
    assert third.revision == first.revision + 1


async def test_the_namespace_is_the_one_asked_for_then_the_files_then_default(store: MemoryStore) -> None:
    bare = b"apiVersion: weft/v1\nkind: Traffic\nmetadata: {name: a}\nspec: {service: api}\n"
    await apply(store, [File("a", bare)])
    await apply(store, [File("a", bare)], namespace="other")
    await apply(store, [File("a", GOOD)])
    assert [found.key.path for found in await get(store)] == [
        "default/traffic/a",
        "other/traffic/a",
        "shop/route/a",
    ]
    with pytest.raises(InvalidDocuments, match="WEFT0106"):
        await apply(store, [File("a", GOOD)], namespace="other")


async def test_every_reason_in_every_file_is_told_and_nothing_is_written(store: MemoryStore) -> None:
    files = [
        File("a.yaml", GOOD + b"---\n" + text("Traffic", "{service: api, timeout: 5}", name="b")),
        File("b.yaml", b"rubbish: ["),
        File("c.yaml", GOOD),
        File("d.yaml", b"apiVersion: weft/v1\nkind: Route\nspec: {}\n"),
    ]
    with pytest.raises(InvalidDocuments) as refused:
        await apply(store, files)
    assert [(one.file, one.line, one.code.name) for one in refused.value.diagnostics] == [
        ("a.yaml", 9, "bad_duration"),
        ("b.yaml", 1, "not_yaml"),
        ("c.yaml", 3, "named_twice"),
        ("d.yaml", 1, "name_missing"),
    ]
    assert (await store.list("")).items == ()


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"---\n---\n"])
async def test_a_file_without_a_document_is_refused(store: MemoryStore, content: bytes) -> None:
    with pytest.raises(InvalidDocuments, match=r"there is no document in a\.yaml"):
        await apply(store, [File("a.yaml", content)])


async def test_a_set_that_fits_is_one_revision(store: MemoryStore) -> None:
    before = (await store.list("")).revision
    applied = await apply(store, [many(99)])
    assert applied.revision == before + 1
    assert len(applied.results) == 99


async def test_a_larger_set_is_written_under_a_pending_key_that_goes_with_the_last(store: MemoryStore) -> None:
    applied = await apply(store, [many(250)])
    batches = await _history(store, until=applied.revision)
    names = [[event.key.split("/")[0] for event in batch.events] for batch in batches]
    assert names[0] == ["pending"]
    assert [len(batch) for batch in names[1:]] == [99, 99, 53]
    assert [event.item for event in batches[-1].events if event.key.startswith(keys.PENDING)] == [None]
    first = batches[0].events[0]
    assert first.item is not None
    assert first.item.lease != 0
    assert len(records.decode(Pending, first.key, first.item.value).keys) == 250


async def _history(store: MemoryStore, *, until: int) -> list[Batch]:
    found = []
    async with store.watch("policy/", "pending/", start=Revision(2)) as batches:
        async for batch in batches:
            found.append(batch)
            if batch.revision >= until:
                return found
    raise AssertionError("the watch ended")


class Meddling(MemoryStore):
    """A store in which somebody else is quicker, before each transaction of a given number."""

    def __init__(self, key: str, *, at: Sequence[int]) -> None:
        super().__init__()
        self.key = key
        self.at = at
        self.count = 0

    async def transact(
        self, guards: Sequence[Compare], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Transaction:
        self.count += 1
        if self.count in self.at:
            await self.put(self.key, b"somebody else's %d" % self.count)
        return await super().transact(guards, then, otherwise)


async def test_a_change_that_came_between_is_looked_at_again() -> None:
    store = Meddling("policy/shop/route/a", at=[1])
    applied = await apply(store, [File("a.yaml", GOOD)])
    assert applied.results == ((ROUTE, "changed"),)
    item = await store.get("policy/shop/route/a")
    assert item is not None
    assert item.value == GOOD


async def test_it_gives_up_where_somebody_else_never_stops() -> None:
    store = Meddling("policy/shop/route/a", at=range(1, 100))
    with pytest.raises(ConflictError, match="apply again"):
        await apply(store, [File("a.yaml", GOOD)])


async def test_a_set_that_is_disturbed_is_incomplete_and_its_key_goes_at_once() -> None:
    store = Meddling("policy/shop/traffic/t150", at=[2])
    with pytest.raises(ConflictError, match="the set is incomplete"):
        await apply(store, [many(250)])
    assert (await store.list(keys.PENDING)).items == ()
    again = await apply(store, [many(250)])
    assert [result for _, result in again.results].count("unchanged") == 99


async def test_an_incomplete_document_is_written_again_though_its_bytes_are_the_same(store: MemoryStore) -> None:
    first = await apply(store, [File("a.yaml", GOOD)])
    status = DocumentStatus("incomplete", first.revision, "none")
    await store.put("status/policy/shop/route/a", records.encode(status))
    again = await apply(store, [File("a.yaml", GOOD)])
    assert again.results == ((ROUTE, "changed"),)
    assert again.revision > first.revision


async def test_documents_are_listed_with_what_is_said_of_them(store: MemoryStore) -> None:
    await apply(store, [File("a.yaml", GOOD), many(2)])
    status = DocumentStatus("accepted", 2, "current", applies_to=("shop/api",))
    await store.put("status/policy/shop/route/a", records.encode(status))
    await store.put("status/policy/shop/traffic/t0", b"rubbish")
    await store.put("policy/misplaced", b"")
    found = await get(store, namespace="shop")
    assert [(one.key.name, one.status) for one in found] == [("a", status), ("t0", None), ("t1", None)]
    assert [one.key.name for one in await get(store, kind="traffic")] == ["t0", "t1"]
    assert [one.document for one in await get(store, kind="route", name="a")] == [GOOD]
    assert await get(store, namespace="nowhere") == []


async def test_deleting_says_what_was_there(store: MemoryStore) -> None:
    await apply(store, [File("a.yaml", GOOD)])
    absent = DocumentKey("shop", "route", "b")
    found = await delete(store, [ROUTE, absent])
    assert found.results == ((ROUTE, "deleted"), (absent, "absent"))
    assert await get(store) == []
