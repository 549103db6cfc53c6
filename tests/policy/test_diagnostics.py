"""The table of codes is what the code uses, no more and no less."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import policy
from policy.diagnostics import CODES, diagnostic, explain

SOURCES = [path for path in Path(policy.__file__).parent.rglob("*.py") if path.name != "diagnostics.py"]
RAISING = {"fault", "diagnostic", "diagnose", "_at", "_parsed", "_quantity"}


def _calls() -> Iterator[tuple[str, list[str]]]:
    """Where a diagnostic is made, and the words of its first three arguments."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in RAISING:
                    words = [arg.value for arg in node.args[:3] if isinstance(arg, ast.Constant)]
                    yield f"{path.name}:{node.lineno}", [word for word in words if isinstance(word, str)]


def test_every_code_that_is_raised_is_in_the_table() -> None:
    for where, words in _calls():
        names = [word for word in words if re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", word)]
        if names:
            assert any(name in CODES for name in names), f"{where} raises none of {names}"


def test_every_code_of_the_table_is_raised_somewhere() -> None:
    constants = {
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    made = {"name_disagrees", "namespace_disagrees"}  # both by f"{field}_disagrees"
    assert [name for name in CODES if name not in constants | made] == []


def test_codes_are_unique_and_say_what_they_mean_and_what_to_do() -> None:
    numbers = [code.code for code in CODES.values()]
    assert len(set(numbers)) == len(numbers)
    for code in CODES.values():
        assert re.fullmatch(r"WEFT\d{4}", code.code)
        assert code.meaning.endswith(".")
        assert code.fix[-1] in ".…"


def test_a_code_is_explained_by_its_number() -> None:
    assert explain("WEFT0201") is CODES["unknown_field"]
    assert explain("weft0201") is CODES["unknown_field"]
    assert explain("0201") is CODES["unknown_field"]
    assert explain("WEFT9999") is None


def test_a_diagnostic_in_a_file_stands_where_the_file_has_it() -> None:
    fault = diagnostic("wrong_type", "expected a map", path="spec", line=3, column=7)
    assert str(fault.located(file="a.yaml", lines_before=10)) == "a.yaml:13:7: spec: expected a map [WEFT0203]"


def test_what_is_stored_of_a_diagnostic_has_a_bound() -> None:
    problem = diagnostic("bad_header", "x" * 10_000, path="y" * 10_000).problem()
    assert (len(problem.message), len(problem.path)) == (500, 500)
