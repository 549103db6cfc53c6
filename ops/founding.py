"""The first thing a controller does in a store: found the mesh where there is none, and see that it belongs there.

`meta/layout` and `pki/trust` are written in one transaction on their absence, so of several controllers that start at
once one founds the mesh and the others find it. How it fails: `NotOurMeshError`, which a restart does not cure.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from ops.controller_config import Mesh
from registry import keys, layout
from registry.layout import InvalidLayout, Layout
from registry.pki import trust
from registry.pki.authority import Authority
from registry.store import Compare, Put, Revision, Store, StoreError

logger = logging.getLogger(__name__)

RETRY = 0.5
PATIENCE = 2.0  # seconds for one attempt; all it writes is guarded, so that it may be made again
SAY_AGAIN = 20  # attempts


class NotOurMeshError(Exception):
    """This controller cannot serve the mesh in the store: another layout, trust domain or root."""

    code = "not_our_mesh"


async def found_mesh(
    store: Store, *, names: Mesh | None, authority: Authority, known: Layout | None, others: Sequence[Authority] = ()
) -> Layout:
    """The mesh in the store, founded if need be; waits for a store that is away. Raises `NotOurMeshError`.

    It is ours if it trusts the root of `authority`, or of one of the `others` that this controller has.
    """
    attempt = 0
    while True:
        try:
            async with asyncio.timeout(PATIENCE):
                return await _found(store, names, (authority, *others), known)
        except (StoreError, TimeoutError) as error:
            if attempt % SAY_AGAIN == 0:
                why = str(error) or f"no answer in {PATIENCE:g} s"
                logger.warning("waiting for etcd", extra={"error.code": "store_unavailable", "error": why})
            attempt += 1
            await asyncio.sleep(RETRY)


async def _found(store: Store, names: Mesh | None, authorities: Sequence[Authority], known: Layout | None) -> Layout:
    authority = authorities[0]
    item = await store.get(keys.META_LAYOUT)
    while item is None:
        if known is not None:
            raise NotOurMeshError(
                f"the store holds no mesh, and this controller served {known.mesh_id}: restore etcd, or weft adopt"
            )
        if names is None:
            raise NotOurMeshError("the store holds no mesh: set [mesh] trust_domain and datacenter to found one")
        if names.trust_domain != authority.trust_domain:
            raise NotOurMeshError(
                f"[mesh] trust_domain is {names.trust_domain}, the CA signs for {authority.trust_domain}: make them equal"
            )
        made = Layout.new(names.trust_domain, names.datacenter)
        bundle = trust.TrustBundle({made.trust_domain: (authority.root_pem,)})
        absent = [Compare(key, create_revision=Revision(0)) for key in (keys.META_LAYOUT, keys.PKI_TRUST)]
        done = await store.transact(
            absent, [Put(keys.META_LAYOUT, layout.encode(made)), Put(keys.PKI_TRUST, trust.encode(bundle))]
        )
        if done.applied:
            logger.info("mesh founded", extra={"mesh_id": made.mesh_id, "trust_domain": made.trust_domain})
        item = await store.get(keys.META_LAYOUT)
        if item is None and not done.applied:
            raise NotOurMeshError("the store has pki/trust but no meta/layout: restore the one or remove the other")
    try:
        mesh = layout.decode(item.value)
    except InvalidLayout as error:
        raise NotOurMeshError(str(error)) from error
    await _check_trust(store, mesh, authorities)
    return mesh


async def _check_trust(store: Store, mesh: Layout, authorities: Sequence[Authority]) -> None:
    """Whether hosts will believe what this controller signs; a bundle that is gone is written again."""
    authority = authorities[0]
    if mesh.trust_domain != authority.trust_domain:
        raise NotOurMeshError(f"the mesh is {mesh.trust_domain}, the CA in [ca] dir signs for {authority.trust_domain}")
    item = await store.get(keys.PKI_TRUST)
    if item is None:
        bundle = trust.TrustBundle({mesh.trust_domain: (authority.root_pem,)})
        absent = Compare(keys.PKI_TRUST, create_revision=Revision(0))
        await store.transact([absent], [Put(keys.PKI_TRUST, trust.encode(bundle))])
        item = await store.get(keys.PKI_TRUST)
    try:
        roots = trust.decode(item.value).of(mesh.trust_domain) if item is not None else ()
    except trust.InvalidTrustBundle as error:
        raise NotOurMeshError(f"pki/trust cannot be read: {error}") from error
    if {one.root_digest for one in authorities}.isdisjoint(trust.digest(root) for root in roots):
        raise NotOurMeshError(
            "the mesh does not trust the root of this controller's CA: weft ca intermediate makes one it does"
        )
