"""Lengths of time, shares and sizes mean one thing, and anything doubtful is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import durations


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("250ms", 250),
        ("15s", 15_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("72h", 259_200_000),
        ("7d", 604_800_000),
        ("1.5s", 1_500),
        ("0s", 0),
    ],
)
def test_a_duration_is_whole_milliseconds(text: str, milliseconds: int) -> None:
    assert durations.milliseconds(text) == milliseconds
    assert durations.parse_duration(text) == timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize(
    "text", ["", "15", "s", "15 s", "-1s", "1e3s", "15S", "1s ", "0.5ms", "9999999h", "1sec", "١s"]
)
def test_what_is_no_duration_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(durations.InvalidDuration, match=r"write|ten years"):
        durations.milliseconds(text)


@given(st.integers(min_value=0, max_value=10**10))
def test_a_formatted_duration_parses_back(length: int) -> None:
    assert durations.milliseconds(durations.format_duration(length)) == length


@pytest.mark.parametrize(("text", "share"), [("20%", 20.0), ("0%", 0.0), ("100%", 100.0), ("0.5%", 0.5)])
def test_a_percentage_is_its_number(text: str, share: float) -> None:
    assert durations.percentage(text) == share


@pytest.mark.parametrize("text", ["20", "101%", "-1%", "20 %", "%"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(durations.InvalidPercentage, match="write 0% to 100%"):
        durations.percentage(text)


@pytest.mark.parametrize(
    ("text", "size"), [("10MB", 10_000_000), ("1MiB", 1_048_576), ("64kB", 64_000), ("0B", 0), ("1.5kB", 1_500)]
)
def test_a_size_is_its_bytes(text: str, size: int) -> None:
    assert durations.size(text) == size


@pytest.mark.parametrize("text", ["10", "10mb", "MB", "0.5B", "99999999999999GiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(durations.InvalidSize):
        durations.size(text)
