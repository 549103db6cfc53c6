"""A directory of documents, for a host without a mesh."""

from __future__ import annotations

from pathlib import Path

from policy.standalone import LocalPolicy, compile_directory
from registry.names import ServiceName
from tests.policy.writing import API, SERVICES, text


def compile_(directory: Path, before: LocalPolicy | None = None) -> LocalPolicy:
    return compile_directory(directory, SERVICES, before=before)


def write(directory: Path, name: str, *documents: bytes) -> None:
    (directory / name).write_bytes(b"---\n".join(documents))


def test_a_directory_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert compile_(tmp_path / "none").compilation.services == {}


def test_files_are_compiled_like_stored_documents(tmp_path: Path) -> None:
    write(
        tmp_path,
        "1.yaml",
        text("Route", "{service: api, rules: [{}]}", name="a"),
        text("Traffic", "{service: api, timeout: 1s}", name="b"),
    )
    write(
        tmp_path,
        "2.json",
        b'{"apiVersion":"weft/v1","kind":"Traffic","metadata":{"name":"c"},"spec":{"service":"web"}}',
    )
    write(tmp_path, "ignored.txt", b"rubbish: [")
    found = compile_(tmp_path)
    assert set(found.compilation.services) == {API, ServiceName("default", "web")}
    assert found.compilation.services[API].routes[0].timeout_ms == 1_000
    assert found.problems == ()


def test_the_order_of_names_stands_for_age(tmp_path: Path) -> None:
    write(tmp_path, "b.yaml", text("Traffic", "{service: api, timeout: 2s}", name="a"))
    write(tmp_path, "a.yaml", text("Traffic", "{service: api, timeout: 1s}", name="b"))
    assert compile_(tmp_path).compilation.services[API].traffic.timeout_ms == 1_000


def test_a_broken_file_costs_itself_only_and_says_where(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", text("Route", "{service: api, rules: [{}]}", name="a"))
    write(tmp_path, "b.yaml", b"rubbish: [")
    found = compile_(tmp_path)
    assert found.compilation.services[API].routes
    assert [(Path(problem.file).name, problem.code.name) for problem in found.problems] == [("b.yaml", "not_yaml")]


def test_a_file_that_breaks_keeps_what_it_said(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", text("Traffic", "{service: api, timeout: 1s}", name="a"))
    before = compile_(tmp_path)
    for broken in (
        b"rubbish: [",
        text("Traffic", "{service: api, timeout: 1}", name="a"),
        text("Traffic", "{service: api}"),
    ):
        write(tmp_path, "a.yaml", broken)
        before = compile_(tmp_path, before)
        assert before.compilation.services[API].traffic.timeout_ms == 1_000
    write(tmp_path, "a.yaml", text("Traffic", "{service: api, timeout: 3s}", name="a"))
    assert compile_(tmp_path, before).compilation.services[API].traffic.timeout_ms == 3_000


def test_a_file_that_is_deleted_takes_back_what_it_said(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", text("Traffic", "{service: api, timeout: 1s}", name="a"))
    before = compile_(tmp_path)
    (tmp_path / "a.yaml").unlink()
    assert compile_(tmp_path, before).compilation.services == {}


def test_a_document_that_stands_twice_is_reported(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        write(tmp_path, name, text("Traffic", "{service: api}", name="a"))
    assert [problem.code.name for problem in compile_(tmp_path).problems] == ["named_twice"]
