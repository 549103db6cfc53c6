"""`weft apply`, `delete`, `diff`, `validate`: documents from files into the store, and back out of it.

Results go to stdout, one line for each document; diagnostics to stderr as `file:line:column: path: message [CODE]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ops.cli.codes import Fault
from ops.cli.files import read_files
from ops.cli.place import Place, on_mesh, wait_for
from ops.cli.words import home, parse_reference

if TYPE_CHECKING:
    from policy.apply import Applied, File, InvalidDocuments, Prepared
    from registry.keys import DocumentKey
    from registry.store import Item

in_namespace = click.option(
    "-n", "--namespace", metavar="NS", help="For what names none itself; otherwise the namespace `default`."
)
from_files = click.option(
    "-f", "--file", "names", multiple=True, metavar="FILE|DIR|-", help="Documents, YAML or JSON; may be repeated."
)


@click.command()
@from_files
@in_namespace
@on_mesh
def apply(place: Place, names: tuple[str, ...], namespace: str | None) -> None:
    """Store documents, all of them or none; those that are unchanged stay untouched.

    Prints what became of each, and the revision to wait for: `weft wait --revision R`.
    """
    from policy import apply as work
    from policy.apply import InvalidDocuments

    files = _given(names)

    async def write() -> Applied:
        async with place.store() as store:
            return await work.apply(store, files, namespace=_checked(namespace))

    try:
        _tell(wait_for(write()))
    except InvalidDocuments as error:
        raise refused(error, "nothing was written") from error


@click.command()
@click.argument("documents", nargs=-1, metavar="[KIND/NAME]...")
@from_files
@in_namespace
@on_mesh
def delete(place: Place, documents: tuple[str, ...], names: tuple[str, ...], namespace: str | None) -> None:
    """Take documents back, by name or by the files that hold them."""
    from policy import apply as work

    wanted = [_key(text, namespace) for text in documents]
    if names or not wanted:
        wanted += [one.key for one in _prepared(_given(names), namespace)]

    async def remove() -> Applied:
        async with place.store() as store:
            return await work.delete(store, list(dict.fromkeys(wanted)))

    done = wait_for(remove())
    _tell(done)
    absent = [str(key) for key, result in done.results if result == "absent"]
    if absent:
        raise Fault("not_found", f"there was no {', '.join(absent)}: `weft get documents -A` lists what there is")


@click.command()
@from_files
@in_namespace
@on_mesh
def diff(place: Place, names: tuple[str, ...], namespace: str | None) -> int:
    """Show what apply would change; exits 1 if it would change anything."""
    from registry import keys

    prepared = _prepared(_given(names), namespace)

    async def stored() -> list[Item | None]:
        async with place.store() as store:
            return [await store.get(keys.document(keys.POLICY, one.key)) for one in prepared]

    lines: list[str] = []
    for one, item in zip(prepared, wait_for(stored()), strict=True):
        lines += _difference(one.key, item.value if item else None, one.document, one.file)
    for line in lines:
        click.echo(line)
    return 1 if lines else 0


@click.command()
@from_files
@in_namespace
def validate(names: tuple[str, ...], namespace: str | None) -> None:
    """Check documents without a mesh; nothing is written."""
    for one in _prepared(_given(names), namespace):
        click.echo(f"{one.key} valid")


def _given(names: Sequence[str]) -> list[File]:
    if not names:
        raise click.UsageError("say which documents: -f FILE, -f DIR, or -f - for standard input")
    return read_files(names)


def _prepared(files: Sequence[File], namespace: str | None) -> list[Prepared]:
    from policy.apply import InvalidDocuments, prepare

    try:
        return prepare(files, namespace=_checked(namespace))
    except InvalidDocuments as error:
        raise refused(error, "correct the lines above") from error


def _checked(namespace: str | None) -> str | None:
    from registry.names import check_name

    return None if namespace is None else check_name(namespace, what="namespace")


def _key(text: str, namespace: str | None) -> DocumentKey:
    from registry.keys import DocumentKey

    found = parse_reference(text)
    if found.kind is None or found.name is None:
        raise Fault("unknown_type", f"{text!r} names no document: write KIND/NAME, such as route/api-split")
    return DocumentKey(home(found.kind, found.namespace or namespace), found.kind, found.name)


def _tell(done: Applied) -> None:
    for key, result in done.results:
        click.echo(f"{key} {result}")
    if done.revision:
        click.echo(f"revision {done.revision}")


def refused(error: InvalidDocuments, outcome: str) -> Fault:
    """Every reason told, and the fault that sums them up."""
    for fault in error.diagnostics:
        click.echo(str(fault), err=True)
    count = len(error.diagnostics)
    return Fault(error.code, f"{count} {'error' if count == 1 else 'errors'} in these documents: {outcome}")


def _difference(key: DocumentKey, before: bytes | None, after: bytes, file: str) -> list[str]:
    import difflib

    old = before.decode(errors="replace").splitlines() if before is not None else []
    new = after.decode(errors="replace").splitlines()
    return list(difflib.unified_diff(old, new, f"stored {key}" if before is not None else "", file, lineterm=""))
