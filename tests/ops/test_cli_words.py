"""The command line without a mesh: what it loads, what it lists, and how things are named."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from ops.cli.app import failed, run
from ops.cli.codes import CODES, Fault, every, explain
from ops.cli.commands import COMMANDS
from ops.cli.reasons import TLS_REASONS
from ops.cli.words import KINDS, LISTED, Reference, home, parse_reference
from policy.documents.kinds import KINDS as ENFORCED
from registry.names import InvalidName

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("registry", "policy", "proxy", "gateway", "ops")
HEAVY = ("asyncio", "cryptography", "grpc", "msgpack", "orjson", "prometheus_client", "pydantic", "starlette", "yaml")


def test_help_loads_click_and_nothing_heavy() -> None:
    script = (
        "import sys; from ops.cli.app import failed, run; code = run(['--help']); "
        f"found = [m for m in {HEAVY!r} if m in sys.modules]; sys.exit(repr(found) if found or code else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "apply" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_is_listed_is_there_and_helps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module, _, attribute = COMMANDS[name].target.partition(":")
    assert isinstance(getattr(import_module(module), attribute), click.Command)
    assert run([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: weft {name}")


def test_a_mistyped_command_is_a_usage_error_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["aply"]) == 2
    said = capsys.readouterr()
    assert "did you mean 'apply'?" in said.err
    assert said.out == ""


def test_the_kinds_of_the_command_are_those_that_are_enforced() -> None:
    assert sorted(KINDS.values()) == sorted(kind.lower() for kind in ENFORCED)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("routes", Reference("routes", None)),
        ("route", Reference("routes", None)),
        ("Route/api-split", Reference("routes", "api-split")),
        ("shop/route/api-split", Reference("routes", "api-split", "shop")),
        ("traffic/api", Reference("traffic", "api")),
        ("instance/api-1", Reference("instances", "api-1")),
        ("defaults", Reference("defaults", None)),
    ],
)
def test_singular_plural_and_a_documents_own_key_mean_the_same(text: str, meant: Reference) -> None:
    assert parse_reference(text) == meant


@pytest.mark.parametrize("plural", LISTED)
def test_every_listed_type_can_be_named(plural: str) -> None:
    assert parse_reference(plural).type == plural


@pytest.mark.parametrize("text", ["pods", "", "a/b/c/d", "routez/x"])
def test_a_type_there_is_not_is_a_usage_error(text: str) -> None:
    with pytest.raises(Fault) as raised:
        parse_reference(text)
    assert CODES[raised.value.code].exit == 2


def test_a_bad_name_is_refused() -> None:
    with pytest.raises(InvalidName):
        parse_reference("route/Api_Split")


def test_gateways_live_in_the_namespace_mesh_and_everything_else_by_default_in_default() -> None:
    assert home("gateway", None) == "mesh"
    assert home("route", None) == "default"
    assert home("gateway", "shop") == "shop"


def test_every_code_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for code in every():
        found = explain(code)
        assert found is not None, code
        assert all(found), code
    assert run(["docs"]) == 0
    assert "WEFT0201" in capsys.readouterr().out
    assert run(["docs", "weft0201"]) == 0
    assert "does not exist" in capsys.readouterr().out
    assert run(["docs", "no_route"]) == 0
    assert run(["docs", "nonsense"]) == 1


def test_every_code_that_an_error_of_ours_carries_is_explained() -> None:
    sources = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    carried = {code for file in sources for code in re.findall(r'^    code = "(\w+)"', file.read_text(), re.MULTILINE)}
    assert "store_unavailable" in carried
    assert {code for code in carried if explain(code) is None} == set()


def test_every_word_of_a_failed_handshake_is_explained() -> None:
    source = (ROOT / "proxy/engine/weft-engine/src/tls/reason.rs").read_text()
    words = re.findall(r'Self::\w+ => "(\w+)"', source)
    assert "unknown_ca" in words
    assert set(words) <= set(TLS_REASONS)


def test_of_several_errors_at_once_one_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    inner = ExceptionGroup("some", [Fault("no_mesh", "first"), Fault("refused", "second")])
    assert failed(ExceptionGroup("all", [inner, Fault("refused", "third")])) == CODES["no_mesh"].exit
    assert capsys.readouterr().err == "error: first [no_mesh]\n"


def test_of_several_errors_a_bug_is_the_one_to_speak_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert failed(ExceptionGroup("all", [Fault("no_mesh", "first"), KeyError("second")])) == CODES["bug"].exit
    assert "KeyError: 'second' [bug]" in capsys.readouterr().err


def test_a_file_that_cannot_be_had_is_named_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert failed(FileNotFoundError(2, "No such file or directory", "/nowhere")) == 1
    assert capsys.readouterr().err == "error: /nowhere: No such file or directory [os_error]\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_WEFT_COMPLETE" in capsys.readouterr().out


def test_no_mesh_is_unreachable_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEFT_STATE", str(tmp_path))
    assert run(["get", "services"]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "weft demo" in said.err
    assert "[no_mesh]" in said.err
