"""Instructions for each piece of work of the pure crates, counted by callgrind and compared with the figures on record.

`make counts` records them, `make test` compares: more than 5 % up or down fails, because a gain that nobody wrote down hides the
next loss. Counts of another compiler, target or valgrind are other counts: then nothing is compared, and it says so.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

RECORD = Path(__file__).parents[2] / "proxy/engine/counts.json"
ROUNDS = 500
"""As in `counts.rs`."""
TOLERANCE = 0.05
NEXT = (
    "If that is as it should be, record the new figures with `make counts` and say in the commit what they were before."
)


@dataclass(frozen=True, slots=True)
class Maker:
    """What figures depend on besides the code."""

    rustc: str
    target: str
    avx2: bool
    valgrind: str


@dataclass(frozen=True, slots=True)
class Record:
    """Figures, with what made them; `cpu` is for people."""

    maker: Maker
    cpu: str
    counts: Mapping[str, int]


def maker() -> Maker:
    """Of this machine; raises FileNotFoundError where valgrind or rustc is missing."""
    told = dict(re.findall(r"^(release|host): (.*)$", _said("rustc", "-vV"), re.MULTILINE))
    return Maker(
        rustc=told["release"],
        target=told["host"],
        avx2=bool(re.search(r"^flags.*\bavx2\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE)),
        valgrind=_said("valgrind", "--version").strip(),
    )


def cpu() -> str:
    """What the processor calls itself."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def count(program: Path) -> dict[str, int]:
    """Instructions per round of each piece of work."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "callgrind.out"
        command = ["valgrind", "--tool=callgrind", "--error-exitcode=1", f"--callgrind-out-file={out}", str(program)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"counts: {program} failed under callgrind:\n{done.stderr}")
        return {name: total // ROUNDS for name, total in sorted(repeated(out.read_text().splitlines()).items())}


def repeated(lines: Iterable[str]) -> dict[str, int]:
    """From callgrind's format: for each function that calls `repeat`, what happened inside of that call."""
    names: dict[str, str] = {}
    totals: dict[str, int] = {}
    caller = callee = ""
    called = False
    for line in lines:
        if match := re.fullmatch(r"(c?fn)=\((\d+)\)(?: (.*))?", line):
            name = names.setdefault(match[2], match[3] or "")
            if match[1] == "fn":
                caller = name
            else:
                callee = name
        elif line.startswith("calls="):
            called = True
        elif called:
            called = False
            if re.search(r"\bcounts::repeat\b", callee):
                work = re.sub(r"^.*counts::(\w+).*$", r"\1", caller)
                totals[work] = totals.get(work, 0) + int(line.split()[-1])
    return totals


def differences(recorded: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """What is not as it was, one line each."""
    told = [f"{name} is counted and not on record" for name in found.keys() - recorded.keys()]
    told += [f"{name} is on record and not counted" for name in recorded.keys() - found.keys()]
    for name in recorded.keys() & found.keys():
        before, now = recorded[name], found[name]
        if abs(now - before) > before * TOLERANCE:
            told.append(f"{name}: {now} instructions, {before} on record: {now / before - 1:+.1%}")
    return sorted(told)


def load() -> Record:
    """The figures on record."""
    raw = json.loads(RECORD.read_text())
    return Record(Maker(**raw["maker"]), raw["cpu"], raw["counts"])


def check(program: Path) -> None:
    """Compare; ends the process with what differs."""
    try:
        here = maker()
    except FileNotFoundError as error:
        print(f"counts: not compared: {error.filename} is not installed")
        return
    record = load()
    if here != record.maker:
        print(f"counts: not compared: they were recorded with {record.maker}, and this is {here}")
        return
    found = count(program)
    if told := differences(record.counts, found):
        sys.exit("\n".join(["counts: beyond 5 %:", *told, NEXT]))
    print(f"counts: {len(found)} pieces of work within {TOLERANCE:.0%} of the record")


def record(program: Path) -> None:
    """Write down, and say what changed."""
    found = count(program)
    before = load().counts if RECORD.exists() else {}
    made = Record(maker(), cpu(), found)
    RECORD.write_text(json.dumps(asdict(made), indent=2) + "\n")
    for name, now in found.items():
        print(f"{name:30} {before.get(name, 0):>9,} {now:>9,}")


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(2, "not found", command[0])
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["check", path]:
            check(Path(path))
        case ["record", path]:
            record(Path(path))
        case _:
            sys.exit("usage: python -m tests.bench.counts check|record PROGRAM")
