"""Lengths of time, shares, sizes, rates and moments as people write them: `250ms`, `20%`, `10MB`, `50/s`.

One parser for documents and for the configuration files of every process, so that the same text means the same
everywhere. A number without a unit is refused rather than guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PERCENTAGE = re.compile(r"(\d+(?:\.\d+)?)%", re.ASCII)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(B|kB|MB|GB|KiB|MiB|GiB)", re.ASCII)
_RATE = re.compile(r"(\d{1,9})/(s|m|h)", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

LONGEST = timedelta(days=3_650)


class InvalidDuration(ValueError):
    """A text that is no length of time. The message says what to write."""

    code = "invalid_duration"


class InvalidPercentage(ValueError):
    """A text that is no share between 0 % and 100 %."""

    code = "invalid_percentage"


class InvalidRate(ValueError):
    """A text that is no number of requests in a time."""

    code = "invalid_rate"


class InvalidMoment(ValueError):
    """A text that is no moment with its time zone."""

    code = "invalid_moment"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many milliseconds."""

    count: int
    window_ms: int


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


def rate(text: str) -> Rate:
    """What `50/s`, `100/m` or `1000/h` says, at most a million in a second; raises `InvalidRate`."""
    found = _RATE.fullmatch(text)
    if found is None:
        raise InvalidRate(f"{text!r} is not a rate: write a whole number and s, m or h, such as 50/s or 1000/h")
    made = Rate(int(found[1]), _MILLISECONDS[found[2]])
    if not 0 < made.count <= 1_000 * made.window_ms:
        raise InvalidRate(f"{text!r} is outside of what can be kept: write 1 to a million in a second")
    return made


def epoch_ms(text: str) -> int:
    """Milliseconds since the epoch of `2027-01-15T18:00:00Z` (RFC 3339); raises `InvalidMoment`."""
    if _MOMENT.fullmatch(text) is None:
        raise InvalidMoment(f"{text!r} is no moment: write a date, a time and a zone, such as 2027-01-15T18:00:00Z")
    try:
        moment = datetime.fromisoformat(text.upper().replace(" ", "T"))
    except ValueError as error:
        raise InvalidMoment(f"{text!r} is no moment: {error}") from error
    since = int(moment.timestamp() * 1_000)
    if since < 0:
        raise InvalidMoment(f"{text!r} is before 1970")
    return since


def format_moment(milliseconds_since_epoch: int) -> str:
    """The text that `epoch_ms` reads, in UTC and whole seconds."""
    return datetime.fromtimestamp(milliseconds_since_epoch / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
