"""Inputs as files for libFuzzer, and back: `seeds.py unpack TARGET FOLDER`, `seeds.py keep TARGET FILE`.

What is kept goes to `found/TARGET.json`, and is a test of every run from then on. Needs nothing but Python.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent


def read(target: str, kind: str) -> list[bytes]:
    """The inputs of a file; none where there is none."""
    path = HERE / kind / f"{target}.json"
    return [text.encode("latin-1") for text in json.loads(path.read_text())] if path.exists() else []


def write(target: str, kind: str, inputs: list[bytes]) -> None:
    """Each once, in their order."""
    (HERE / kind).mkdir(parents=True, exist_ok=True)
    texts = [data.decode("latin-1") for data in dict.fromkeys(inputs)]
    (HERE / kind / f"{target}.json").write_text(json.dumps(texts, indent=0) + "\n")


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    match arguments:
        case ["unpack", target, folder]:
            for data in read(target, "seeds") + read(target, "found"):
                (Path(folder) / hashlib.sha1(data).hexdigest()).write_bytes(data)
        case ["keep", target, file]:
            write(target, "found", [*read(target, "found"), Path(file).read_bytes()])
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
