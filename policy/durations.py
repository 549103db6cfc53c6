"""Lengths of time, shares and sizes as people write them: `250ms`, `15s`, `20%`, `10MB`.

One parser for documents and for the configuration files of every process, so that the same text means the same
everywhere. A number without a unit is refused rather than guessed.
"""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PERCENTAGE = re.compile(r"(\d+(?:\.\d+)?)%", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(B|kB|MB|GB|KiB|MiB|GiB)", re.ASCII)
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

LONGEST = timedelta(days=3_650)


class InvalidDuration(ValueError):
    """A text that is no length of time. The message says what to write."""

    code = "invalid_duration"


class InvalidPercentage(ValueError):
    """A text that is no share between 0 % and 100 %."""

    code = "invalid_percentage"


class InvalidSize(ValueError):
    """A text that is no number of bytes."""

    code = "invalid_size"


def milliseconds(text: str) -> int:
    """Whole milliseconds of `250ms`, `15s`, `5m`, `1h30m`, `72h`, `7d`; raises `InvalidDuration`."""
    if _DURATION.fullmatch(text) is None:
        raise InvalidDuration(
            f"{text!r} is not a duration: write a number with ms, s, m, h or d, such as 250ms or 1h30m"
        )
    total = sum(float(number) * _MILLISECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if total != int(total):
        raise InvalidDuration(f"{text!r} is finer than a millisecond: write whole milliseconds")
    if total > LONGEST / timedelta(milliseconds=1):
        raise InvalidDuration(f"{text!r} is longer than ten years")
    return int(total)


def parse_duration(text: str) -> timedelta:
    """The length of time that `text` says, as in `milliseconds`; raises `InvalidDuration`."""
    return timedelta(milliseconds=milliseconds(text))


def format_duration(length: timedelta | int) -> str:
    """The shortest single-unit text that parses back to `length` (milliseconds if a number): `90s`, `15s`, `250ms`, `72h`."""
    total = length if isinstance(length, int) else int(length / timedelta(milliseconds=1))
    for unit in ("h", "m", "s"):
        if total and total % _MILLISECONDS[unit] == 0:
            return f"{total // _MILLISECONDS[unit]}{unit}"
    return f"{total}ms" if total else "0s"


def percentage(text: str) -> float:
    """The number in `20%` or `0.5%`, 0 to 100; raises `InvalidPercentage`."""
    found = _PERCENTAGE.fullmatch(text)
    if found is None or float(found[1]) > 100:
        raise InvalidPercentage(f"{text!r} is not a percentage: write 0% to 100%, such as 20%")
    return float(found[1])


def size(text: str) -> int:
    """Bytes in `10MB` (decimal) or `10MiB` (binary); raises `InvalidSize`."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise InvalidSize(f"{text!r} is not a size: write a number with B, kB, MB, GB, KiB, MiB or GiB, such as 10MB")
    total = float(found[1]) * _BYTES[found[2]]
    if total != int(total) or total > 2**62:
        raise InvalidSize(f"{text!r} is not a whole number of bytes below 4 EiB")
    return int(total)
