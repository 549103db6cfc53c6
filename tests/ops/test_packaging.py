"""The front door: the lock says from what it was made, tools are judged before they are used, a copy replaces as a whole."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from ops.deploy import lock
from ops.dev.tools import usable

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "ops/deploy/tools.sh"

PYPROJECT = """
[project]
version = "1"
requires-python = ">=3.11"
dependencies = ["b>=2", "a>=1"]
[dependency-groups]
dev = ["c"]
[tool.ruff]
line-length = 100
"""


def fake(directory: Path, name: str, prints: str) -> Path:
    program = directory / name
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{prints}\nEND\n")
    program.chmod(0o755)
    return program


def tools(*arguments: str, cwd: Path, path: str = "/usr/bin:/bin", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(TOOLS), *arguments],
        cwd=cwd,
        env={"PATH": path, "HOME": str(cwd), **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_lock_of_this_tree_is_made_from_its_dependencies() -> None:
    assert lock.main("check") == 0


def test_a_lock_is_stale_once_a_dependency_changes_and_fresh_after_a_stamp(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "requirements.lock").write_text("a==1\n")
    assert lock.main("check", root=tmp_path) == 1
    assert "make lock" in capsys.readouterr().err
    assert lock.main("stamp", root=tmp_path) == 0
    assert lock.main("check", root=tmp_path) == 0
    (tmp_path / "pyproject.toml").write_text(PYPROJECT.replace("a>=1", "a>=2"))
    assert lock.main("check", root=tmp_path) == 1
    lock.main("stamp", root=tmp_path)
    assert (tmp_path / "requirements.lock").read_text().count(lock.MARK) == 1


@pytest.mark.parametrize(
    "changed",
    [PYPROJECT.replace("100", "120"), PYPROJECT.replace('"b>=2", "a>=1"', '"a>=1", "b>=2"')],
    ids=["another table", "another order"],
)
def test_what_decides_no_dependency_leaves_a_lock_fresh(changed: str) -> None:
    assert lock.digest(changed) == lock.digest(PYPROJECT)


def test_an_installed_copy_has_another_inode_so_that_what_runs_keeps_its_own(tmp_path: Path) -> None:
    source, target = tmp_path / "new", tmp_path / "bin" / "engine"
    source.write_text("one")
    assert tools("install", str(source), str(target), cwd=tmp_path).returncode == 0
    before = target.stat()
    assert os.access(target, os.X_OK)
    tools("install", str(source), str(target), cwd=tmp_path)
    assert target.stat().st_ino == before.st_ino, "the same bytes are not copied again"
    source.write_text("two")
    tools("install", str(source), str(target), cwd=tmp_path)
    assert target.read_text() == "two"
    assert target.stat().st_ino != before.st_ino
    assert [one.name for one in target.parent.iterdir()] == ["engine"]


def test_a_cargo_that_is_too_old_or_missing_is_told_with_what_to_do(tmp_path: Path) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    fake(bin_, "cargo", "cargo 1.63.0 (fd9c4297c 2022-07-01)")
    old = tools("cargo", cwd=tmp_path, path=f"{bin_}:/usr/bin:/bin")
    assert old.returncode == 1
    assert "1.63.0 is too old" in old.stderr
    assert "rustup.rs" in old.stderr
    fake(bin_, "cargo", "cargo 1.89.0 (d73d2caf9 2024-12-31)")
    assert tools("cargo", cwd=tmp_path, path=f"{bin_}:/usr/bin:/bin").returncode == 0
    missing = tools("cargo", cwd=tmp_path, path=with_only(tmp_path, "mkdir", "dirname"))
    assert missing.returncode == 1
    assert "cargo is missing" in missing.stderr


def with_only(directory: Path, *names: str) -> str:
    """A PATH with nothing but these."""
    only = directory / "only"
    only.mkdir()
    for name in names:
        (only / name).symlink_to(f"/usr/bin/{name}")
    (only / "sh").symlink_to("/bin/sh")
    return str(only)


def test_an_etcd_that_loses_acknowledged_writes_is_refused_by_name(tmp_path: Path) -> None:
    bin_ = tmp_path / "etcds"
    bin_.mkdir()
    bad = fake(bin_, "etcd", "etcd Version: 3.5.1")
    told = tools("etcd", cwd=tmp_path, WEFT_ETCD=str(bad))
    assert told.returncode == 1
    assert "3.5.6" in told.stderr
    good = fake(bin_, "etcd", "etcd Version: 3.5.21")
    fake(bin_, "etcdctl", "etcdctl version: 3.5.21")
    told = tools("etcd", cwd=tmp_path, WEFT_ETCD=str(good))
    assert told.returncode == 0, told.stderr
    assert "3.5.21" in told.stdout
    assert (tmp_path / ".tools/bin/etcdctl").resolve() == bin_ / "etcdctl"


VERSIONS = {
    "3.3.27": False,
    "3.4.21": False,
    "3.4.22": True,
    "3.4.30": True,
    "3.5.0": False,
    "3.5.5": False,
    "3.5.6": True,
    "3.5.33": True,
    "3.6.0": True,
    "4.0.0": True,
}


@pytest.mark.parametrize(("version", "good"), VERSIONS.items())
def test_shell_and_python_agree_on_which_etcd_can_be_used(tmp_path: Path, version: str, good: bool) -> None:
    major, minor, patch = map(int, version.split("."))
    assert usable(major, minor, patch) is good
    binary = fake(tmp_path, "etcd", f"etcd Version: {version}")
    fake(tmp_path, "etcdctl", "")
    assert (tools("etcd", cwd=tmp_path, WEFT_ETCD=str(binary)).returncode == 0) is good


def test_what_the_readme_promises_make_has() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("build", "demo", "test", "bench", "soak"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert "make test" in (ROOT / ".ci/run").read_text()
