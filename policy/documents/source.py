"""From bytes to plain values, each with the line and column it was written at.

One pass over libyaml's events builds the values, so that depth, aliases, duplicate keys and size are bounded while
reading and nothing that is refused was ever expanded. Scalars become what YAML 1.1 makes of them only where nobody can
be surprised: `true`, `12` and `1.5` do; what other readers would take differently (`no`, `0777`, `1:30`, `2027-01-15`) becomes
`Unquoted`, which no field accepts: its error says "quote it". So does a value left empty: a field is left out instead.

How it fails: `read` raises `Unreadable` with one diagnostic (libyaml stops at the first) or with all duplicate keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import yaml
from yaml.resolver import Resolver

from policy.diagnostics import Diagnostic, diagnostic

MAX_BYTES = 256_000
MAX_DEPTH = 32
MAX_VALUES = 50_000

Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+")
_NUMBER_ELSEWHERE = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|0o[0-7]+")
_TAG = "tag:yaml.org,2002:"
_RESOLVER = Resolver()


class Unreadable(Exception):
    """Bytes that are no document. `diagnostics` is never empty."""

    code = "unreadable"

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("; ".join(map(str, diagnostics)))
        self.diagnostics = diagnostics


@dataclass(frozen=True, slots=True)
class Unquoted:
    """A plain scalar that YAML readers disagree about, or that is no string in any of them."""

    text: str
    kind: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, from 1, and its text where it is a plain scalar (for "quote it")."""

    line: int
    column: int
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A document's value and the place of each part of it."""

    value: object
    places: dict[Path, Place]
    keys: dict[Path, Place]

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Where `path` stands, or the nearest thing around it; `key`: where its name stands."""
        if key and path in self.keys:
            return self.keys[path]
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))


@dataclass(frozen=True, slots=True)
class Piece:
    """One document of a file: its bytes as written, comments kept, and how many lines stand before it."""

    document: bytes
    lines_before: int


def read(document: bytes) -> Source:
    """The one document in `document`; raises `Unreadable`."""
    text = _text(document)
    sources: list[Source] = []
    try:
        events = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if sources:
                    raise Unreadable(
                        _at(event, "several_documents", "several documents in one key: store each under its own")
                    )
                sources.append(_Builder(events).source())
    except yaml.YAMLError as error:
        raise Unreadable(_syntax(error, text)) from error
    if not sources or isinstance(sources[0].value, Unquoted):
        raise Unreadable(
            diagnostic("empty", "there is no document here: write apiVersion, kind and spec", line=1, column=1)
        )
    return sources[0]


def split(file: bytes) -> list[Piece]:
    """The documents of a file, each as written; those that hold nothing are left out. Raises `Unreadable`."""
    text = _text(file, limit=64 * MAX_BYTES)
    starts: list[tuple[int, int]] = []
    empty: list[bool] = []
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.DocumentStartEvent):
                line, column = _where(event)
                starts.append((line - 1, column + 2 if event.explicit else column - 1))
                empty.append(True)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent) or (
                isinstance(event, yaml.ScalarEvent) and (event.value or event.style)
            ):
                empty[-1] = False
    except yaml.YAMLError as error:
        raise Unreadable(_syntax(error, text)) from error
    lines = text.splitlines(keepends=True)
    pieces = []
    for index, (line, column) in enumerate(starts):
        first, skip = (0, 0) if index == 0 else (line, column)
        last = starts[index + 1][0] if index + 1 < len(starts) else len(lines)
        kept = lines[first:last]
        if index and kept:
            rest = kept[0][skip:]
            kept = [rest, *kept[1:]] if rest.strip() else kept[1:]
            first += 0 if rest.strip() else 1
        if not empty[index]:
            pieces.append(Piece("".join(kept).encode(), first))
    return pieces


def _text(document: bytes, *, limit: int = MAX_BYTES) -> str:
    if len(document) > limit:
        raise Unreadable(diagnostic("too_large", f"{len(document)} bytes: at most {limit} are read", line=1, column=1))
    try:
        return document.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = document.count(b"\n", 0, error.start) + 1
        raise Unreadable(diagnostic("not_utf8", f"byte {error.start} is not UTF-8", line=line, column=1)) from error


def _syntax(error: yaml.YAMLError, text: str) -> Diagnostic:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        said = error.problem or "not YAML"
        said = f"{said}, {error.context}" if error.context else said
        line, column = error.problem_mark.line + 1, error.problem_mark.column + 1
        lines = text.splitlines()
        if line > len(lines) > 0:  # at the end of the text, which is no line of its own
            line, column = len(lines), len(lines[-1]) + 1
        return diagnostic("not_yaml", f"not YAML: {said}", line=line, column=column)
    position = next((at for at, char in enumerate(text) if not (char.isprintable() or char in "\t\n\r\x85")), 0)
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    return diagnostic("not_yaml", "not YAML: a character that YAML does not allow", line=line, column=column)


def _at(event: yaml.Event, name: str, message: str) -> Diagnostic:
    line, column = _where(event)
    return diagnostic(name, message, line=line, column=column)


def _where(event: yaml.Event) -> tuple[int, int]:
    """Line and column from 1; libyaml gives every event a mark."""
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


@dataclass(slots=True)
class _Builder:
    """Values out of the events of one document."""

    events: Iterator[yaml.Event]
    places: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    anchors: dict[str, list[yaml.Event]] = field(default_factory=dict)
    faults: list[Diagnostic] = field(default_factory=list)
    counter: Iterator[int] = field(default_factory=count)

    def source(self) -> Source:
        value = self.value(next(self.events), (), self.events)
        if self.faults:
            raise Unreadable(*self.faults)
        return Source(value, self.places, self.keys)

    def value(self, event: yaml.Event, path: Path, events: Iterator[yaml.Event]) -> object:
        if len(path) > MAX_DEPTH:
            raise Unreadable(_at(event, "too_deep", f"nested more than {MAX_DEPTH} deep"))
        if next(self.counter) > MAX_VALUES:
            raise Unreadable(_at(event, "too_many_values", f"more than {MAX_VALUES} values, aliases expanded"))
        self.places[path] = Place(*_where(event))
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, path)
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            event, events = self.anchor(event, events)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, path)
        if isinstance(event, yaml.CollectionStartEvent) and event.tag is not None:
            raise Unreadable(_at(event, "yaml_tag", f"the tag {event.tag} is not one Weft knows"))
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(path, events)
        return self.mapping(path, events)

    def anchor(self, event: yaml.NodeEvent, events: Iterator[yaml.Event]) -> tuple[yaml.Event, Iterator[yaml.Event]]:
        """Record the events of an anchored value, so that an alias can play them again."""
        recorded: list[yaml.Event] = [event]
        depth = 0
        while True:
            last = recorded[-1]
            if isinstance(last, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                depth += 1
            elif isinstance(last, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                depth -= 1
            if depth == 0:
                break
            if depth > MAX_DEPTH:
                raise Unreadable(_at(last, "too_deep", f"nested more than {MAX_DEPTH} deep"))
            recorded.append(next(events))
        name = str(event.anchor)
        event.anchor = None
        self.anchors[name] = recorded
        replay = iter(recorded)
        return next(replay), replay

    def alias(self, event: yaml.AliasEvent, path: Path) -> object:
        recorded = self.anchors.get(str(event.anchor))
        if recorded is None:
            raise Unreadable(_at(event, "not_yaml", f"not YAML: the alias *{event.anchor} stands before its anchor"))
        replay = iter(recorded)
        return self.value(next(replay), path, replay)

    def sequence(self, path: Path, events: Iterator[yaml.Event]) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self.value(event, (*path, len(items)), events))
        return items

    def mapping(self, path: Path, events: Iterator[yaml.Event]) -> dict[str, object]:
        found: dict[str, object] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self.key(event, found)
            self.keys[(*path, key)] = Place(*_where(event))
            found[key] = self.value(next(events), (*path, key), events)
        return found

    def key(self, event: yaml.Event, found: dict[str, object]) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise Unreadable(_at(event, "key_not_string", "a key must be a string"))
        if event.value == "<<" and event.implicit[0]:
            raise Unreadable(_at(event, "yaml_tag", "merge keys (<<) are not one of Weft's: write the fields out"))
        if not isinstance(_resolve(event), str):
            self.faults.append(
                _at(event, "key_not_string", f'the key {event.value} is no string: quote it: "{event.value}"')
            )
        if event.value in found:
            self.faults.append(_at(event, "duplicate_key", f"the key {event.value!r} is said twice"))
        return str(event.value)

    def scalar(self, event: yaml.ScalarEvent, path: Path) -> object:
        if event.tag not in (None, "!", _TAG + "str"):
            raise Unreadable(_at(event, "yaml_tag", f"the tag {event.tag} is not one Weft knows"))
        if event.implicit[0]:
            place = self.places[path]
            self.places[path] = Place(place.line, place.column, event.value)
        return _resolve(event)


def _resolve(event: yaml.ScalarEvent) -> object:
    """What a scalar says: a string unless it is plain and every reader agrees that it is something else."""
    text = str(event.value)
    if not event.implicit[0]:
        return text
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    kind = tag.removeprefix(_TAG)
    match kind:
        case "str":
            return Unquoted(text, "float") if _NUMBER_ELSEWHERE.fullmatch(text) else text
        case "bool" if text in ("true", "false"):
            return text == "true"
        case "int" if _INT.fullmatch(text) and len(text) < 20:
            return int(text)
        case "float" if _FLOAT.fullmatch(text):
            return float(text)
        case _:
            return Unquoted(text, kind)
