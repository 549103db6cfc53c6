"""Which services requests go to when nobody is left, and that no chain of them comes back."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from policy.compile import Compilation, ServiceFacts, compile_documents
from policy.selection import Stored
from registry.model import Protocol
from registry.names import ServiceName
from tests.policy.writing import API, WEB, compile_, stored

NAMES = ("api", "web", "db", "cron")


def traffic(service: str, *to: str, modified: int = 1, good: str | None = None, created: int = 1) -> Stored:
    """The Traffic of one service, named after it."""
    spec = f"{{service: {service}, failover: [{', '.join(to)}]}}"
    before = None if good is None else f"{{service: {service}, failover: [{good}]}}"
    return stored("Traffic", spec, name=service, modified=modified, created=created, good=before)


def failover(found: Compilation, service: ServiceName) -> tuple[str, ...]:
    return found.services[service].traffic.failover if service in found.services else ()


def status(found: Compilation, document: Stored) -> tuple[str, str, list[str]]:
    said = found.statuses[document.key]
    return said.state, said.in_force, [error.code for error in said.errors]


def test_a_failover_names_services_in_order_with_their_namespace() -> None:
    assert failover(compile_(traffic("api", "web", "dr/api", "shop/web")), API) == ("shop/web", "dr/api")


def test_chains_that_end_are_left_alone() -> None:
    documents = traffic("api", "web", "db"), traffic("web", "db"), traffic("db", "cron")
    found = compile_(*documents)
    assert [status(found, document) for document in documents] == [("accepted", "current", [])] * 3


def test_a_service_that_fails_over_to_itself_is_refused() -> None:
    document = traffic("api", "web", "api")
    found = compile_(document)
    assert status(found, document) == ("rejected", "none", ["WEFT0312"])
    error = found.statuses[document.key].errors[0]
    assert (error.path, "from shop/api to shop/api" in error.message) == ("spec.failover", True)


def test_who_closes_a_loop_last_is_refused_and_what_it_said_before_stays() -> None:
    older = traffic("api", "web", modified=9, good="dr/api")
    newer = traffic("web", "db", modified=3, created=2)
    last = traffic("db", "api", modified=4, created=3)
    found = compile_(older, newer, last)
    assert status(found, older) == ("rejected", "last-good", ["WEFT0312"])
    assert failover(found, API) == ("dr/api",)
    assert failover(found, WEB) == ("shop/db",)
    for document in (newer, last):
        assert status(found, document)[0] == "accepted"


def test_a_last_good_version_that_closes_a_loop_too_is_not_used() -> None:
    broken = traffic("api", "web", modified=9, good="web")
    found = compile_(broken, traffic("web", "api", modified=3))
    assert status(found, broken) == ("rejected", "none", ["WEFT0312", "WEFT0312"])
    assert (failover(found, API), failover(found, WEB)) == ((), ("shop/api",))


def test_who_is_not_there_or_speaks_otherwise_is_noted() -> None:
    document = traffic("api", "gone", "db")
    facts = {API: ServiceFacts(Protocol.HTTP), ServiceName("shop", "db"): ServiceFacts(Protocol.TCP)}
    notes = compile_documents([document], facts).statuses[document.key].notes
    assert [(note.code, note.path) for note in notes] == [
        ("WEFT0304", "spec.failover[0]"),
        ("WEFT0313", "spec.failover[1]"),
    ]


@st.composite
def graphs(draw: st.DrawFn) -> list[Stored]:
    lists = st.lists(st.sampled_from(NAMES), max_size=3, unique=True)
    return [
        traffic(
            name,
            *draw(lists),
            modified=draw(st.integers(5, 9)),
            created=draw(st.integers(1, 4)),
            good=draw(st.none() | st.sampled_from(NAMES)),
        )
        for name in NAMES
    ]


@given(graphs(), st.randoms())
def test_what_is_in_force_never_comes_back_whatever_was_written(documents: list[Stored], random: object) -> None:
    found = compile_(*documents)
    graph = {name: failover(found, ServiceName("shop", name)) for name in NAMES}
    for start in NAMES:
        assert f"shop/{start}" not in _reached(start, graph)
    shuffled = list(documents)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert compile_(*shuffled).statuses == found.statuses


def _reached(start: str, graph: dict[str, tuple[str, ...]]) -> set[str]:
    found: set[str] = set()
    waiting: Sequence[str] = graph[start]
    while waiting:
        found.update(waiting)
        waiting = [to for at in waiting for to in graph[at.removeprefix("shop/")] if to not in found]
    return found
