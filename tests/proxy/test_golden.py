"""The sections as we pack them are, field for field, what the engine's own tests read (`tests/golden`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import pytest
from pydantic import TypeAdapter

from policy.compiled import Service
from proxy import sections

GOLDEN = Path(__file__).parents[1] / "golden/sections"
TYPES: dict[str, Any] = {
    "host": sections.Host,
    "listener": sections.Listener,
    "endpoints": sections.Endpoints,
    "service": Service,
    "gateway": sections.Gateway,
}
NAMES = sorted(str(path.relative_to(GOLDEN).with_suffix("")) for path in GOLDEN.rglob("*.json"))


def test_there_is_a_golden_section_of_every_kind() -> None:
    assert {name.partition("/")[0] for name in NAMES} == set(TYPES)


@pytest.mark.parametrize("name", NAMES)
def test_a_section_is_packed_as_the_engine_reads_it(name: str) -> None:
    plain = json.loads((GOLDEN / f"{name}.json").read_text())
    value = TypeAdapter(TYPES[name.partition("/")[0]]).validate_python(plain)
    packed = (GOLDEN / f"{name}.msgpack").read_bytes()
    assert msgpack.unpackb(sections.encode(value)) == msgpack.unpackb(packed) == plain
