"""What the options of `weft explain` and `weft replay` mean: whose snapshot is asked, and which documents are known."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.cli.codes import Fault
from ops.cli.documents import refused
from ops.cli.tap import engines
from ops.dev.state import state_directory
from ops.explain import live
from ops.explain.stored import PREFIXES, StoredMesh
from ops.explain.world import World
from policy.apply import File, InvalidDocuments, Prepared, prepare
from policy.provenance import Provenance
from registry.store import StoreError

if TYPE_CHECKING:
    from ops.cli.place import Place


@dataclass(frozen=True, slots=True)
class Looked:
    """Engines that run, or a mesh as its store has it; `before` is the same without the documents that are only tried."""

    worlds: tuple[World, ...] = ()
    mesh: StoredMesh | None = None
    before: StoredMesh | None = None
    known: Provenance | None = None
    notes: tuple[str, ...] = ()


async def look(place: Place, sockets: Sequence[Path], files: Sequence[File], namespace: str | None) -> Looked:
    """What is asked about; raises `Fault`, `StoreError`, `EngineAwayError`."""
    prepared = _prepared(files, namespace)
    if prepared or (place.etcd and not sockets):
        mesh = await _stored(place)
        tried = _with(mesh, prepared) if prepared else mesh
        return Looked(mesh=tried, before=mesh if prepared else None, known=Provenance(tried.documents, now=tried.now))
    own = None if place.state == state_directory() else place.state
    worlds = tuple(live.world(socket) for socket in engines(sockets, own))
    try:
        mesh = await _stored(place)
    except (StoreError, Fault) as error:
        return Looked(worlds=worlds, notes=(f"where values come from is not known: {error}",))
    return Looked(
        worlds=worlds,
        known=Provenance(mesh.documents, now=mesh.now),
        notes=tuple(_behind(worlds, mesh)),
    )


def _prepared(files: Sequence[File], namespace: str | None) -> list[Prepared]:
    try:
        return prepare(files, namespace=namespace) if files else []
    except InvalidDocuments as error:
        raise refused(error, "nothing can be said of them") from error


def _behind(worlds: Iterable[World], mesh: StoredMesh) -> Iterable[str]:
    for world in worlds:
        if world.policy < mesh.policy:
            yield f"{world.source} serves policy {world.policy}, and {mesh.policy} is published"


async def _stored(place: Place) -> StoredMesh:
    async with place.store() as store:
        listing = await store.list(*PREFIXES)
    mesh = StoredMesh.of(listing, now=time.time(), source="etcd")
    if mesh is None:
        raise Fault("not_found", f"there is no mesh below {place.prefix} in this etcd: start a controller first")
    return mesh


def _with(mesh: StoredMesh, prepared: Sequence[Prepared]) -> StoredMesh:
    """The mesh as it would be; raises `Fault` where the compiler would not accept one of the documents."""
    tried, statuses = mesh.with_documents(prepared)
    wrong = [
        f"{key} would be {status.state}: {'; '.join(f'{one.message} [{one.code}]' for one in status.errors)}"
        for key, status in statuses.items()
        if status.state != "accepted"
    ]
    if wrong:
        raise Fault("invalid_documents", "; ".join(wrong))
    return tried
