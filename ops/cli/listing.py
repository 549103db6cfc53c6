"""`weft get TYPE[/NAME]`: everything there is, in one grammar."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from ops.cli.codes import Fault
from ops.cli.output import Format, show, with_output
from ops.cli.place import Place, on_mesh, wait_for
from ops.cli.words import LISTED, Reference, home, parse_reference

if TYPE_CHECKING:
    from ops.cli.rows import Row
    from registry.store import Item, Store

NAMESPACED = ("services", "instances")


@click.command(epilog="TYPE is one of " + ", ".join(LISTED) + "; the singular does too.")
@click.argument("what", metavar="TYPE[/NAME]")
@click.option("-n", "--namespace", metavar="NS", help="Where to look; otherwise `default`, for gateways `mesh`.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Look everywhere.")
@with_output
@on_mesh
def get(place: Place, what: str, namespace: str | None, all_namespaces: bool, output: Format) -> None:
    """List services, instances, hosts, certificates or documents; or one of them.

    Documents as YAML are the bytes that were stored, comments and all.
    """
    from ops.cli.rows import COLUMNS

    wanted = parse_reference(what)
    everywhere = all_namespaces or (wanted.type == "documents" and namespace is None and wanted.namespace is None)
    where = None if everywhere else home(wanted.kind, wanted.namespace or namespace)

    async def read() -> list[Row]:
        async with place.store() as store:
            return await rows_of(store, wanted, where)

    found = wait_for(read())
    if not found and wanted.name is not None:
        raise Fault(
            "not_found", f"there is no {what}{_within(wanted, where)}: `weft get {wanted.type} -A` lists what there is"
        )
    if not found:
        click.echo(f"no {wanted.type}{_within(wanted, where)}", err=True)
    if output == "yaml" and _are_documents(wanted):
        click.echo("---\n".join(_whole_lines(str(row["document"])) for row in found), nl=False)
        return
    columns = COLUMNS["documents" if _are_documents(wanted) else wanted.type]
    hidden = "namespace" if where is not None and output == "table" else ""
    shown = [column for column in columns if column.field != hidden]
    show(found, shown, output, single=wanted.name is not None)


async def rows_of(store: Store, wanted: Reference, namespace: str | None) -> list[Row]:
    """The rows that match, in order; `namespace` None means all of them."""
    found = await (_documents(store, wanted, namespace) if _are_documents(wanted) else _things(store, wanted))
    if wanted.type in NAMESPACED and namespace is not None:
        found = [row for row in found if row["namespace"] == namespace]
    if wanted.name is None:
        return found
    return [row for row in found if _is_named(row, wanted)]


async def _documents(store: Store, wanted: Reference, namespace: str | None) -> list[Row]:
    from ops.cli import rows
    from policy import apply

    found: Sequence[apply.Found] = await apply.get(store, kind=wanted.kind, namespace=namespace)
    return rows.documents(found)


async def _things(store: Store, wanted: Reference) -> list[Row]:
    from ops.cli import rows
    from policy.rollout import Fleet
    from registry import keys
    from registry.view import View

    now = time.time()
    listing = await store.list(keys.REGISTRY, *Fleet.PREFIXES)
    view = View.empty().relist(listing, now=now)
    fleet = Fleet()
    fleet.reset(listing.items)
    match wanted.type:
        case "services":
            return rows.services(view, now=now)
        case "instances":
            return rows.instances(view, now=now)
        case "certificates":
            return rows.certificates(fleet.acks)
    labels = _labels([item for item in listing.items if item.key.startswith(keys.ROSTER)])
    return rows.hosts(fleet, view, labels)


def _labels(items: Sequence[Item]) -> dict[str, Mapping[str, str]]:
    """By host; an entry that cannot be read has none, and is told."""
    from registry import keys
    from registry.pki import roster

    found: dict[str, Mapping[str, str]] = {}
    for item in items:
        try:
            found[item.key.removeprefix(keys.ROSTER)] = roster.decode(item.value).labels
        except roster.InvalidRosterEntry as error:
            click.echo(f"warning: {item.key} cannot be read: {error}", err=True)
    return found


def _are_documents(wanted: Reference) -> bool:
    return wanted.type == "documents" or wanted.kind is not None


def _is_named(row: Row, wanted: Reference) -> bool:
    name = str(row["name"])
    return wanted.name == (name.partition("/")[2] if _are_documents(wanted) else name.rpartition("/")[2])


def _within(wanted: Reference, namespace: str | None) -> str:
    scoped = wanted.type in NAMESPACED or _are_documents(wanted)
    return f" in the namespace {namespace}" if scoped and namespace is not None else ""


def _whole_lines(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"
