"""Regular expressions that mean the same to everybody who reads them.

The engine uses Rust's `regex` crate, which runs in linear time and so knows no look-around and no back-references. What
is accepted here is the part of that syntax which Python reads alike, so that a mistake is found where the document is
written. Whatever differs between the two (a bare `{`, a `[` inside a class, class arithmetic) must be escaped.

Source of the syntax: https://docs.rs/regex/latest/regex/#syntax
"""

from __future__ import annotations

import re
import warnings

MAX_LENGTH = 1_000
MAX_REPEAT = 1_000

_LETTERS = frozenset("dDsSwWbBnrtfv")
_HEX = {"x": 2, "u": 4, "U": 8}
_COUNT = re.compile(r"\{(\d{1,6})(,(\d{1,6})?)?\}")
_GROUP = re.compile(r"\?(?:P<[A-Za-z_][A-Za-z0-9_]*>|[ism]*:|[ism]+\))")


class InvalidRegex(ValueError):
    """An expression outside the common part. The message says where and why."""

    code = "invalid_regex"


def check_regex(pattern: str) -> str:
    """`pattern` itself, if Rust's `regex` and Python's `re` both take it, and alike; raises `InvalidRegex`."""
    if len(pattern) > MAX_LENGTH:
        raise InvalidRegex(f"longer than {MAX_LENGTH} characters")
    position = 0
    while position < len(pattern):
        position += _step(pattern, position)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise InvalidRegex(f"not a regular expression: {error}") from error
    return pattern


def _step(pattern: str, at: int) -> int:
    """The length of the item at `at`, refused if the two engines could differ about it."""
    match pattern[at]:
        case "\\":
            return _escape(pattern, at)
        case "[":
            return _class(pattern, at)
        case "(" if pattern[at + 1 : at + 2] == "?":
            found = _GROUP.match(pattern, at + 1)
            if found is None or (found[0].endswith(")") and at > 0):
                raise InvalidRegex(
                    f"{pattern[at : at + 4]!r} at {at + 1}: look-around, conditions and comments are not known; "
                    "groups are (…), (?:…), (?i:…) and (?P<name>…), flags (?i) stand at the start"
                )
            return 1 + len(found[0])
        case "{":
            return _count(pattern, at)
        case "*" | "+" | "?":
            return _repeat(pattern, at, 1)
        case _:
            return 1


def _escape(pattern: str, at: int) -> int:
    letter = pattern[at + 1 : at + 2]
    if letter in _HEX:
        digits = pattern[at + 2 : at + 2 + _HEX[letter]]
        if len(digits) < _HEX[letter] or re.fullmatch(r"[0-9A-Fa-f]+", digits) is None:
            raise InvalidRegex(f"'\\{letter}' at {at + 1} needs {_HEX[letter]} hexadecimal digits")
        return 2 + len(digits)
    if letter.isdigit():
        raise InvalidRegex(f"'\\{letter}' at {at + 1}: back-references are not known")
    if letter in _LETTERS or (letter.isascii() and letter and not letter.isalnum() and not letter.isspace()):
        return 2
    raise InvalidRegex(f"'\\{letter}' at {at + 1} is no escape that every part of Weft knows")


def _count(pattern: str, at: int) -> int:
    found = _COUNT.match(pattern, at)
    if found is None:
        raise InvalidRegex(f"'{{' at {at + 1}: write {{n}}, {{n,}} or {{n,m}}, or escape it as \\{{")
    if max(int(found[1]), int(found[3] or 0)) > MAX_REPEAT:
        raise InvalidRegex(f"{found[0]} at {at + 1} repeats more than {MAX_REPEAT} times")
    return _repeat(pattern, at, len(found[0]))


def _repeat(pattern: str, at: int, length: int) -> int:
    following = pattern[at + length : at + length + 1]
    if following == "+" or (following and following in "*{"):
        raise InvalidRegex(f"{pattern[at : at + length + 1]!r} at {at + 1}: a repetition of a repetition")
    return length + (following == "?")


def _class(pattern: str, at: int) -> int:
    end = at + 1 + pattern.startswith("^", at + 1)
    if pattern.startswith("]", end):
        raise InvalidRegex(f"']' right after '[' at {at + 1}: escape it as \\]")
    while end < len(pattern) and pattern[end] != "]":
        if pattern[end] == "[":
            raise InvalidRegex(f"'[' inside a class at {end + 1}: escape it as \\[")
        if pattern[end : end + 2] in ("&&", "--", "~~", "||"):
            raise InvalidRegex(f"{pattern[end : end + 2]!r} inside a class at {end + 1}: escape one of the two")
        end += _escape(pattern, end) if pattern[end] == "\\" else 1
    return end + 1 - at
