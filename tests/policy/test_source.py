"""What is refused while reading, and where every value stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.documents.source import MAX_BYTES, Unquoted, Unreadable, read, split

BOMB = b"a: &a [1,1,1,1,1,1,1,1,1,1]\n" + b"".join(
    f"{chr(at + 1)}: &{chr(at + 1)} [{','.join([f'*{chr(at)}'] * 10)}]\n".encode() for at in range(97, 107)
)


@pytest.mark.parametrize(
    ("document", "name", "line", "column"),
    [
        (b"a: \xff", "not_utf8", 1, 1),
        (b"a: b\n" * (MAX_BYTES // 5 + 1), "too_large", 1, 1),
        (b"a: [1,\nb: 2", "not_yaml", 2, 5),
        (b"a: \x01", "not_yaml", 1, 4),
        (b"a: *b", "not_yaml", 1, 4),
        (b"[" * 40 + b"]" * 40, "too_deep", 1, 34),
        (b"a: &a [*a]", "too_deep", 1, 8),
        (b"a: &x " + b"[" * 40 + b"]" * 40, "too_deep", 1, 39),
        (BOMB, "too_many_values", 1, 4),
        (b"a: 1\nb: 2\na: 3", "duplicate_key", 3, 1),
        (b"1: a", "key_not_string", 1, 1),
        (b"on: a", "key_not_string", 1, 1),
        (b"[a]: b", "key_not_string", 1, 1),
        (b"a: 1\n---\nb: 2", "several_documents", 2, 1),
        (b"", "empty", 1, 1),
        (b"# nothing\n", "empty", 1, 1),
        (b"a: !!python/object:x 1", "yaml_tag", 1, 4),
        (b"a: !x {b: 1}", "yaml_tag", 1, 4),
        (b"a: &x {b: 1}\nc: {<<: *x}", "yaml_tag", 2, 5),
    ],
)
def test_bytes_that_are_no_document_are_refused_at_their_place(
    document: bytes, name: str, line: int, column: int
) -> None:
    with pytest.raises(Unreadable) as refused:
        read(document)
    assert [(one.code.name, one.line, one.column) for one in refused.value.diagnostics] == [(name, line, column)]


def test_every_duplicate_key_is_reported() -> None:
    with pytest.raises(Unreadable) as refused:
        read(b"a: 1\na: 2\nb: {c: 1, c: 2}\n")
    assert [one.line for one in refused.value.diagnostics] == [2, 3]


@pytest.mark.parametrize(
    "text",
    ["no", "on", "Yes", "TRUE", "0777", "0x1F", "1:30", "2027-01-15", "1_000", "~", "null", "", ".5", "1e3", ".inf"],
)
def test_what_readers_disagree_about_is_neither_string_nor_number(text: str) -> None:
    value = read(f"a: {text}".encode()).value
    assert isinstance(value, dict)
    assert isinstance(value["a"], Unquoted)


def test_values_that_nobody_disagrees_about_are_what_they_look_like() -> None:
    assert read(b'{a: true, b: false, c: 12, d: -3, e: 1.5, f: "no", g: word, h: [x]}').value == {
        "a": True,
        "b": False,
        "c": 12,
        "d": -3,
        "e": 1.5,
        "f": "no",
        "g": "word",
        "h": ["x"],
    }


def test_json_is_read() -> None:
    assert read(b'{"a": [1, {"b": "c"}]}').value == {"a": [1, {"b": "c"}]}


def test_an_alias_stands_for_its_value_every_time() -> None:
    assert read(b"a: &x {b: &y [1]}\nc: *x\nd: [*x, *y]").value == {
        "a": {"b": [1]},
        "c": {"b": [1]},
        "d": [{"b": [1]}, [1]],
    }


def test_every_part_has_its_line_and_column() -> None:
    source = read("# ü\nspec:\n  rules:\n  - name: ß\n    to: [a, b]\n".encode())
    assert (source.place(("spec", "rules", 0, "to", 1)).line, source.place(("spec", "rules", 0, "to", 1)).column) == (
        5,
        13,
    )
    assert (source.place(("spec", "rules", 0, "to"), key=True).column) == 5
    assert source.place(("spec", "rules", 0, "missing", "deep")) == source.place(("spec", "rules", 0))


def test_a_file_is_split_into_its_documents_with_their_comments() -> None:
    pieces = split(b"# head\n---\na: 1\n# tail\n--- \n# second\nb: 2\n---\n---  {c: 3}\n---\n# nothing\n")
    assert [(piece.document, piece.lines_before) for piece in pieces] == [
        (b"# head\n---\na: 1\n# tail\n", 0),
        (b"# second\nb: 2\n", 5),
        (b"  {c: 3}\n", 8),
    ]


def reasons(document: bytes) -> list[tuple[int, int]]:
    """Where `document` is refused; empty where it is read and split."""
    try:
        read(document)
        split(document)
    except Unreadable as refused:
        return [(one.line, one.column) for one in refused.diagnostics] or [(0, 0)]
    return []


@given(st.binary(max_size=200))
def test_reading_anything_gives_a_value_or_a_place(document: bytes) -> None:
    assert all(line >= 1 and column >= 1 for line, column in reasons(document))


@given(st.text(alphabet="ab:[]{}&*-#!|>'\"\n\t ,?%<~1", max_size=80))
def test_reading_signs_of_yaml_gives_a_value_or_a_place(document: str) -> None:
    assert all(line >= 1 and column >= 1 for line, column in reasons(document.encode()))
