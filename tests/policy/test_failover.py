"""Which services requests go to when nobody is left, and that none stands in for itself."""

from __future__ import annotations

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
    assert (error.path, "to itself" in error.message) == ("spec.failover", True)


def test_services_may_stand_in_for_each_other() -> None:
    documents = traffic("api", "web"), traffic("web", "db", "api"), traffic("db", "api")
    found = compile_(*documents)
    assert [status(found, document) for document in documents] == [("accepted", "current", [])] * 3
    assert (failover(found, API), failover(found, WEB)) == (("shop/web",), ("shop/db", "shop/api"))


def test_what_a_service_said_before_it_named_itself_stays() -> None:
    found = compile_(document := traffic("api", "api", modified=9, good="dr/api"))
    assert status(found, document) == ("rejected", "last-good", ["WEFT0312"])
    assert failover(found, API) == ("dr/api",)


def test_a_last_good_version_that_names_itself_too_is_not_used() -> None:
    broken = traffic("api", "api", modified=9, good="api")
    found = compile_(broken)
    assert status(found, broken)[:2] == ("rejected", "none")
    assert failover(found, API) == ()


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
def test_nobody_stands_in_for_itself_whatever_was_written_in_whatever_order(
    documents: list[Stored], random: object
) -> None:
    found = compile_(*documents)
    for name in NAMES:
        assert f"shop/{name}" not in failover(found, ServiceName("shop", name))
    shuffled = list(documents)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert compile_(*shuffled).statuses == found.statuses
