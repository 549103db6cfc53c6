"""Counts of instructions: what is read of callgrind's file, and what is told where a figure moved."""

from __future__ import annotations

import pytest

from tests.bench.counts import differences, repeated

CALLGRIND = """\
events: Ir
fn=(1) counts::main
5 100
cfn=(2) counts::read_request
calls=1 0
6 9000
fn=(2)
10 500
cfn=(3) counts::repeat
calls=1 20
11 7000
cfn=(4) counts::decoded
calls=1 30
12 1500
fn=(5) counts::route_10
cfn=(3)
calls=1 20
40 8000
"""


def test_only_what_is_repeated_is_counted_for_whoever_repeats_it() -> None:
    assert repeated(CALLGRIND.splitlines()) == {"read_request": 7000, "route_10": 8000}


@pytest.mark.parametrize(("before", "now", "told"), [(1000, 1050, 0), (1000, 950, 0), (1000, 1051, 1), (1000, 949, 1)])
def test_five_percent_more_or_less_is_told(before: int, now: int, told: int) -> None:
    assert len(differences({"a": before}, {"a": now})) == told


def test_work_that_came_or_went_is_told() -> None:
    assert differences({"a": 1, "b": 2}, {"b": 2, "c": 3}) == [
        "a is on record and not counted",
        "c is counted and not on record",
    ]
