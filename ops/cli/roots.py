"""`weft ca rotate`, `ca status`, `ca revoke` and `weft host`: whom the mesh believes, changed while it runs."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.cli.codes import Fault
from ops.cli.output import Column, Format, show, with_output
from ops.cli.place import Place, on_mesh, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry.layout import Layout
    from registry.pki.rotation import Step
    from registry.pki.trust import TrustBundle
    from registry.store import Item, Store

ROOTS = (
    Column("name", "ROOT"),
    Column("state", "STATE"),
    Column("since", "SINCE"),
    Column("ends", "ENDS"),
    Column("note", "NOTE"),
)
LOOK = 0.2


@click.command()
@on_mesh
@click.argument("where", type=click.Path(file_okay=False, path_type=Path), required=False)
@click.option("--abort", is_flag=True, help="Take the root back that is to come, while nothing is signed with it.")
@click.option("--wait", "timeout", metavar="LENGTH", help="Return when it is done, or after so long: then exit 6.")
def rotate(place: Place, where: Path | None, abort: bool, timeout: str | None) -> None:
    """Replace the mesh's root by the one in the directory WHERE, while requests flow.

    First make the root, `weft ca init DIR`, and give every controller an intermediate under it, in a folder of its [ca]
    dir: `weft ca intermediate CADIR/NAME --root DIR --name CONTROLLER`. Then rotate to DIR: every host trusts the new root; when
    all do, controllers sign with it and hosts renew what they hold; when nobody holds anything under the old one, it is
    forgotten. Each step is taken by whichever controller leads; saying it again goes on, and `weft ca status` tells where
    it stands.
    """
    from policy.durations import parse_duration
    from registry.pki import rotation

    patience = parse_duration(timeout).total_seconds() if timeout is not None else 0.0
    if abort == (where is not None):
        raise click.UsageError("say either DIR or --abort")
    text = None if where is None else (where / "root.pem").read_text()

    async def work() -> Step | None:
        async with place.store() as store:
            now = time.time()
            await _change(
                store,
                lambda bundle, domain: (
                    rotation.abort(bundle, domain) if text is None else rotation.begin(bundle, domain, text, now=now)
                ),
            )
            end = time.monotonic() + patience
            while (step := await _step(store)) is not None and step.doing != "none" and time.monotonic() < end:  # noqa: ASYNC110 - the state of many keys
                await asyncio.sleep(LOOK)
            return step

    step = wait_for(work())
    if step is None or step.doing == "none":
        click.echo("no rotation is under way")
        return
    click.echo(f"rotating: {step.doing}", err=True)
    for who, why in step.waits_for.items():
        click.echo(f"  {who} {why}", err=True)
    if timeout is not None:
        raise Fault("not_rotated", f"the rotation is not done after {timeout}: `weft ca status` tells who it waits for")


@click.command()
@on_mesh
@with_output
def status(place: Place, output: Format) -> None:
    """The roots that hosts trust, and where a rotation stands."""

    async def work() -> tuple[list[dict[str, object]], Step | None]:
        async with place.store() as store:
            _, bundle, layout = await _bundle(store)
            return _rows(bundle, layout.trust_domain), await _step(store)

    rows, step = wait_for(work())
    show(rows, ROOTS, output)
    if step is not None and step.doing != "none":
        click.echo(f"rotating: {step.doing}", err=True)
        for who, why in step.waits_for.items():
            click.echo(f"  {who} {why}", err=True)


@click.command()
@on_mesh
@click.argument("what", metavar="SERIAL|SPIFFE-ID")
@click.option("--why", default="revoked by an operator", help="For those who look it up.")
def revoke(place: Place, what: str, why: str) -> None:
    """Believe a certificate no more: its connections end within a second, and its host asks for another."""
    from ops.revoking import revoke as work

    async def done() -> tuple[str, ...]:
        async with place.store() as store:
            return await work(store, what, why=why, now=time.time())

    for serial in wait_for(done()):
        click.echo(f"{serial} revoked")


@click.group()
def host() -> None:
    """Take hosts out of the mesh."""


@host.command()
@on_mesh
@click.argument("name")
def forget(place: Place, name: str) -> None:
    """Off the roster, with everything it serves revoked; it may join again with a new token."""
    from ops.revoking import forget_host

    async def done() -> int:
        async with place.store() as store:
            revision, serials = await forget_host(store, name, now=time.time())
            click.echo(f"host {name} forgotten; {len(serials)} certificates revoked", err=True)
            return int(revision)

    click.echo(f"revision {wait_for(done())}")


async def _change(store: Store, change: Callable[[TrustBundle, str], TrustBundle]) -> None:
    from registry import keys
    from registry.pki import trust
    from registry.store import Compare, Put

    item, bundle, layout = await _bundle(store)
    wanted = change(bundle, layout.trust_domain)
    if wanted == bundle:
        return
    guard = Compare(keys.PKI_TRUST, mod_revision=item.mod_revision)
    done = await store.transact([guard], [Put(keys.PKI_TRUST, trust.encode(wanted))])
    if not done.applied:
        raise Fault("conflict", "the roots changed at the same moment: look at `weft ca status` and try again")


async def _bundle(store: Store) -> tuple[Item, TrustBundle, Layout]:
    from registry import keys, layout
    from registry.pki import trust

    mesh, item = await store.get(keys.META_LAYOUT), await store.get(keys.PKI_TRUST)
    if mesh is None or item is None:
        raise layout.InvalidLayout("the store holds no mesh yet: start a controller first")
    return item, trust.decode(item.value), layout.decode(mesh.value)


async def _step(store: Store) -> Step | None:
    """Where it stands, as the leader sees it but for what it can sign with itself."""
    from ops.rotation import PREFIXES, where

    listing = await store.list(*PREFIXES)
    _, bundle, layout = await _bundle(store)
    items = {item.key: item for item in listing.items}
    return where(items, layout.trust_domain, can_sign=bundle.of(layout.trust_domain), now=time.time())


def _rows(bundle: TrustBundle, trust_domain: str) -> list[dict[str, object]]:
    from cryptography import x509

    from ops.cli.report import length
    from registry.pki import rotation

    now, notes = time.time(), {"active": "signed with", "next": "trusted, not signed with yet", "old": "trusted still"}
    rows: list[dict[str, object]] = []
    for root in bundle.of(trust_domain):
        mark, ends = bundle.mark(root), x509.load_pem_x509_certificate(root.encode()).not_valid_after_utc
        rows.append(
            {
                "name": rotation.name(root),
                "state": mark.state,
                "since": f"{length(now - mark.since)} ago" if mark.since else "",
                "ends": length(ends.timestamp() - now),
                "note": notes.get(mark.state, ""),
            }
        )
    return rows
