"""What holds for every set of documents: determinism, isolation, and no exception whatever they say."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from policy import compiled
from policy.compile import Compilation, compile_documents
from policy.records import LastGood
from policy.selection import Stored
from registry.keys import DocumentKey
from registry.names import ServiceName
from tests.policy.writing import SERVICES, text

SERVICE_NAMES = ("api", "web", "db")

durations = st.sampled_from(["1s", "250ms", "2m", "5"])  # the last is an error
rules = st.one_of(
    durations.map(lambda length: f"{{timeout: {length}}}"),
    st.sampled_from(SERVICE_NAMES).map(lambda name: f"{{to: [{name}, {{service: web, weight: 3}}]}}"),
    st.sampled_from(["/a", "/b/c", "d"]).map(
        lambda path: f"{{match: [{{path: {{prefix: {path}}}}}], retry: {{max: 2}}}}"
    ),
    st.just("{respond: {code: 200}}"),
    st.just("{redirect: {code: 200}}"),
)
specs_of = {
    "Route": st.tuples(st.sampled_from(SERVICE_NAMES), st.lists(rules, max_size=3)).map(
        lambda parts: f"{{service: {parts[0]}, rules: [{', '.join(parts[1])}]}}"
    ),
    "Traffic": st.tuples(st.sampled_from(SERVICE_NAMES), durations).map(
        lambda parts: f"{{service: {parts[0]}, timeout: {parts[1]}}}"
    ),
    "Access": st.tuples(st.sampled_from(SERVICE_NAMES), st.sampled_from(["allow", "deny", "alow"])).map(
        lambda parts: f"{{service: {parts[0]}, rules: [{{{parts[1]}: {{from: [web]}}}}]}}"
    ),
}
specs = st.sampled_from(sorted(specs_of)).flatmap(lambda kind: st.tuples(st.just(kind), specs_of[kind]))
names = st.sampled_from(["a", "b", "c", "d"])


@st.composite
def documents(draw: st.DrawFn) -> list[Stored]:
    """A set under distinct keys, some with a last good version of another content."""
    found: dict[DocumentKey, Stored] = {}
    for kind, spec in draw(st.lists(specs, max_size=8)):
        key = DocumentKey("shop", kind.lower(), draw(names))
        good = draw(st.none() | specs_of[kind])
        found[key] = Stored(
            key,
            text(kind, spec),
            created=draw(st.integers(1, 5)),
            modified=draw(st.integers(5, 9)),
            last_good=LastGood(1, text(kind, good)) if good else None,
            held=draw(st.booleans()) and draw(st.booleans()),
        )
    return list(found.values())


def compile_(stored: Sequence[Stored]) -> Compilation:
    return compile_documents(stored, SERVICES)


def packed(found: Compilation) -> dict[ServiceName, bytes]:
    return {service: compiled.pack(value) for service, value in found.services.items()}


@given(documents(), st.randoms())
def test_the_order_in_which_documents_are_listed_changes_no_byte(stored: list[Stored], random: object) -> None:
    shuffled = list(stored)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert packed(compile_(stored)) == packed(compile_(shuffled))
    assert compile_(stored).statuses == compile_(shuffled).statuses


@given(documents())
def test_what_is_compiled_survives_being_stored(stored: list[Stored]) -> None:
    for value in compile_(stored).services.values():
        back, _ = compiled.decode(compiled.Service, compiled.encode(value, source_revision=7))  # type: ignore[arg-type]
        assert back == value


@given(documents(), specs, names, st.integers(1, 9))
def test_a_change_of_one_document_touches_only_the_services_it_names(
    stored: list[Stored], spec: tuple[str, str], name: str, created: int
) -> None:
    kind, said = spec
    added = Stored(DocumentKey("shop", kind.lower(), name + "x"), text(kind, said), created, created)
    before, after = packed(compile_(stored)), packed(compile_([*stored, added]))
    moved = {service.name for service in before | after if before.get(service) != after.get(service)}
    named = said.split("service: ", 1)[1].split(",", 1)[0]
    # A Traffic that takes a service from a younger one may bring back what that one said before, elsewhere.
    last_good = {one.last_good.document.decode() for one in stored if one.last_good}
    allowed = {named} | {service for service in SERVICE_NAMES for text_ in last_good if f"service: {service}," in text_}
    assert moved <= (allowed if kind == "Traffic" else {named})


@given(documents())
def test_every_document_gets_a_status_that_is_true_of_it(stored: list[Stored]) -> None:
    found = compile_(stored)
    assert set(found.statuses) == {one.key for one in stored}
    for one in stored:
        status = found.statuses[one.key]
        assert (status.state == "accepted") == (status.in_force == "current") == (not status.errors)
        assert (status.state == "accepted") == (one in found.accepted)
        assert status.revision == one.modified


@given(documents())
def test_at_most_one_traffic_document_is_accepted_for_a_service(stored: list[Stored]) -> None:
    found = compile_(stored)
    targets = [
        status.applies_to
        for key, status in found.statuses.items()
        if key.kind == "traffic" and status.in_force != "none"
    ]
    assert len(targets) == len(set(targets))


@given(
    st.lists(
        st.tuples(
            names,
            st.sampled_from(["route", "traffic", "access", "gateway", "defaults", "limit", "x"]),
            st.binary(max_size=60),
        ),
        max_size=5,
    )
)
def test_rubbish_never_raises_and_is_always_rejected(rubbish: list[tuple[str, str, bytes]]) -> None:
    stored = {
        DocumentKey("shop", kind, name): Stored(DocumentKey("shop", kind, name), document, 1, 1)
        for name, kind, document in rubbish
    }
    found = compile_(list(stored.values()))
    assert all(status.state == "rejected" and status.errors for status in found.statuses.values())
    assert found.services == {}
