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
MAX_DEPTH = 100

LARGEST = 150_000
"""Of what an engine compiles an expression to, in single letters; it takes at least that (10 MiB in all)."""

_LETTERS = frozenset("dDsSwWbBnrtfv")
_WEIGHTS = {"w": 1_000, "d": 100, "s": 30}
_SOME = 30
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
    if _weight(pattern) > LARGEST:
        raise InvalidRegex("it is too large where its repetitions are written out: repeat less, or less of \\w")
    return pattern


def _weight(pattern: str) -> int:
    """About how large an engine's automaton is, in single letters, repetitions written out. Groups are balanced."""
    sums, last, position = [0], 0, 0
    while position < len(pattern):
        length = _step(pattern, position)
        item = pattern[position : position + length]
        position += length
        if item[0] == "(" and not item.endswith(")"):
            sums.append(0)
            if len(sums) > MAX_DEPTH:
                raise InvalidRegex(f"groups stand more than {MAX_DEPTH} deep in one another")
        elif item[0] in "*+?{":
            times = _times(item)
            sums[-1] += last * (times - 1)
            last *= times
        elif item == ")":
            last = sums.pop() + 2
            sums[-1] += last
        else:
            last = 0 if item[0] in "(|" else _letters(item)
            sums[-1] += last
    return sum(sums) * (4 if re.search(r"\(\?[sm]*i", pattern) else 1)


def _letters(item: str) -> int:
    """Of one letter, escape or class."""
    if item[0] not in "\\[.":
        return len(item.encode(errors="replace"))
    escapes = sum(_WEIGHTS.get(letter.lower(), 4) for letter in re.findall(r"\\(.)", item))
    if item[0] == "\\":
        return escapes
    if item[0] == "[" and not item.startswith("[^"):
        return escapes + 4 + sum(1 if letter.isascii() else _SOME for letter in item)
    return escapes + _SOME * (1 + sum(not letter.isascii() for letter in item))


def _times(item: str) -> int:
    found = _COUNT.match(item)
    return 2 if found is None else max(1, int(found[3] or found[1]) + (found[2] == ","))


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
            flags = re.sub(r"[^ism]", "", found[0]) if "<" not in found[0] else ""
            if len(set(flags)) < len(flags):
                raise InvalidRegex(f"({found[0]} at {at + 1}: a flag is said twice")
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
        if 0xD800 <= int(digits, 16) <= 0xDFFF:
            raise InvalidRegex(f"'\\{letter}{digits}' at {at + 1} is no character, but half of one")
        return 2 + len(digits)
    if letter.isdigit():
        raise InvalidRegex(f"'\\{letter}' at {at + 1}: back-references are not known")
    if letter in ("<", ">"):
        raise InvalidRegex(f"'\\{letter}' at {at + 1} means another thing in every part of Weft: write {letter}")
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
        if pattern[end : end + 2] in ("\\b", "\\B"):
            raise InvalidRegex(f"'{pattern[end : end + 2]}' inside a class at {end + 1}: a boundary is no character")
        end += _escape(pattern, end) if pattern[end] == "\\" else 1
    return end + 1 - at
