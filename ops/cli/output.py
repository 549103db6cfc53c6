"""How lists are shown: a table for people, JSON, YAML, names or a wide table for programs. Data goes to stdout, the rest to stderr."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import click

Format = Literal["table", "wide", "json", "yaml", "name"]
Row = Mapping[str, object]
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Column:
    """A field of the rows and its heading; `wide` ones stand in the wide table only."""

    field: str
    heading: str
    wide: bool = False


def with_output(command: F) -> F:
    """Give a command `-o`, as the argument `output`."""
    formats = click.Choice(["table", "wide", "json", "yaml", "name"])
    option = click.option("-o", "--output", type=formats, default="table", show_default=True, help="How to print.")
    return option(command)


def show(rows: Sequence[Row], columns: Sequence[Column], output: Format, *, single: bool = False) -> None:
    """Print rows. Each has `name` for `-o name`; JSON and YAML carry every field: a list of rows, or of `single` the one."""
    value: object = rows[0] if single and len(rows) == 1 else list(rows)
    if output == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    elif output == "yaml":
        click.echo(to_yaml(value), nl=False)
    elif output == "name":
        for row in rows:
            click.echo(str(row["name"]))
    elif rows:
        chosen = [column for column in columns if output == "wide" or not column.wide]
        lines = [[column.heading for column in chosen], *([_text(row.get(c.field)) for c in chosen] for row in rows)]
        for line in table(lines):
            click.echo(line)


def table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def to_yaml(value: object) -> str:
    """As YAML, fields in the order given."""
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def _text(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={item}" for key, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    return str(value)
