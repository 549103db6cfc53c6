"""README's tour, typed as it stands there: every `sh` block into one shell, every line of a `text` block in what it printed.

Only where a stranger's mesh stands is replaced: its ports and its state directory are this test's own. In a `text` block
`…` stands for anything within a line.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proxy.ports import PortClaims
from tests.mesh.mesh import ROOT, Mesh, running

MARK = "== end of block"


@dataclass(frozen=True, slots=True)
class Block:
    """What is typed, and what must be seen then."""

    line: int
    typed: str
    expected: tuple[str, ...]


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    """A mesh as it is at the tour's beginning."""
    with running() as mesh:
        yield mesh


def test_the_tour_works_as_typed(mesh: Mesh, tmp_path: Path) -> None:
    blocks = tour((ROOT / "README.md").read_text())
    assert len(blocks) > 5
    with PortClaims() as claims:
        places = stranger_to_here(mesh, own_port=claims.claim())
        claims.close()
        script = "".join(f"{replaced(block.typed, places)}\necho '{MARK}'\n" for block in blocks)
        done = subprocess.run(
            ["bash"],
            input=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            env=mesh.environment,
            cwd=tmp_path,
            check=False,
        )
    printed = done.stdout.split(MARK + "\n")
    assert len(printed) == len(blocks) + 1, done.stdout
    for block, seen in zip(blocks, printed, strict=False):
        for expected in block.expected:
            assert found(replaced(expected, places), seen), (
                f"README.md line {block.line}: expected {expected!r} in\n{seen}"
            )


def test_the_split_of_the_tour_is_near_what_it_says(mesh: Mesh, tmp_path: Path) -> None:
    split = next(block.typed for block in tour((ROOT / "README.md").read_text()) if "api-split" in block.typed)
    done = subprocess.run(
        ["bash"],
        input=replaced(split, stranger_to_here(mesh, own_port=0)),
        capture_output=True,
        text=True,
        timeout=120,
        env=mesh.environment,
        cwd=tmp_path,
        check=False,
    )
    share = int(done.stdout.split()[-1])
    assert 10 <= share <= 52, done.stdout + done.stderr  # 100 draws of 0.3: five standard deviations either way


def tour(readme: str) -> list[Block]:
    """The `sh` blocks in order, each with the lines of the `text` block that follows it at once."""
    pattern = re.compile(r"^```sh\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
    return [
        Block(readme.count("\n", 0, match.start()) + 1, match[1], tuple((match[2] or "").splitlines()))
        for match in pattern.finditer(readme)
    ]


def stranger_to_here(mesh: Mesh, *, own_port: int) -> dict[str, str]:
    """Where things stand for a stranger, and where they stand here."""
    endpoints = mesh.endpoints
    ports = {
        7580: urlsplit(endpoints["gateway"]["http"]).port,
        7543: urlsplit(endpoints["gateway"]["https"]).port,
        7570: urlsplit(endpoints["etcd"]).port,
        7503: urlsplit(endpoints["engine"]["metrics"]).port,
        7502: int(endpoints["engine"]["inbound"].rpartition(":")[2]),
        8642: own_port,
    }
    return {
        "~/.local/state/weft/dev": str(mesh.state),
        **{str(there): str(here) for there, here in ports.items()},
    }


def replaced(text: str, places: dict[str, str]) -> str:
    """The text with every place replaced, each once."""
    return re.sub("|".join(map(re.escape, places)), lambda match: places[match[0]], text)


def found(expected: str, seen: str) -> bool:
    """Whether a line of `seen` holds what is expected."""
    pattern = ".*".join(re.escape(part.strip()) for part in expected.split("…"))
    return re.search(pattern, seen) is not None
