"""What this host knows of its mesh: endpoints, compiled policy, and which mesh it is.

Follows the store and keeps what it learned on disk, so that a restart with no store at all knows what the last life knew.
Another mesh's store, an empty one, or one of a newer layout is not followed: the last good state stays, `objection` says
why, and nothing of this host is written there (the announcer asks `writable`).

Instances whose lease was lost are kept on disk too, apart: a restart must not turn "suspect" into "never heard of".

How it fails: it does not end. A store that is away leaves everything as it was, and `stale_since` says since when.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path

import msgpack

from proxy.follow import WAIT_FOR_HEAD, Published
from proxy.keep import read_file, replace_file
from registry import keys, layout
from registry.layout import InvalidLayout, Layout
from registry.model import Endpoint, Protocol, Source
from registry.names import ServiceName
from registry.pki import trust
from registry.store import Batch, Item, LeaseId, Listing, Revision, Store
from registry.sync import Changed, Relisted, Stale, follow
from registry.view import View

logger = logging.getLogger(__name__)

PREFIXES = (keys.META_LAYOUT, keys.REGISTRY, keys.HOSTS, keys.COMPILED, keys.BARRIER, keys.PKI_TRUST, keys.PKI_REVOKED)
PKI = (keys.PKI_TRUST, keys.PKI_REVOKED)
SAVE_EVERY = 1.0
_PACKER = msgpack.Packer(use_bin_type=True)
LOOK_AGAIN = 0.05


class Mesh:
    """The mesh as this host sees it. `changed` is called after every change of what can be read here."""

    def __init__(self, path: Path, *, clock: Callable[[], float], changed: Callable[[], None]) -> None:
        self._path = path
        self._clock = clock
        self._changed = changed
        self._items: dict[str, Item] = {}
        self._lost: dict[str, Item] = {}
        self._keeping = threading.Lock()
        self._packed: dict[str, tuple[Item, bytes]] = {}
        self._dirty = asyncio.Event()
        self._take: asyncio.TimerHandle | None = None
        self.view = View.empty()
        self.published = Published()
        self.layout: Layout | None = None
        self.barriers: frozenset[str] = frozenset()
        self.roots: tuple[str, ...] = ()
        """The roots of the mesh as its store has them, as PEM; none while that is unknown. `signing`: those signed with."""
        self.signing: tuple[str, ...] = ()
        self.revoked: tuple[str, ...] = ()
        self.source: Source | None = None
        """ETCD once listed, DISK while only the last life's view is known, None where nothing is."""
        self.stale_since: float | None = None
        self.objection = ""
        self.listed = asyncio.Event()
        self._load()

    def __repr__(self) -> str:
        return (
            f"Mesh(source={self.source}, registry={self.view.revision}, policy={self.published.revision}, "
            f"objection={self.objection!r})"
        )

    @property
    def writable(self) -> bool:
        """Whether the store was seen to be this host's mesh."""
        return self.listed.is_set() and not self.objection

    @property
    def settled(self) -> bool:
        """Whether policy is known well enough to hand it on: not in the middle of a publication."""
        return not self.published.incomplete

    @property
    def protocols(self) -> Mapping[ServiceName, Protocol]:
        """What every known service speaks."""
        return {name: info.protocol for name, info in self.view.services().items()}

    def endpoints(self, service: ServiceName) -> tuple[Endpoint, ...]:
        """What is known of a service's instances now, those that are gone left out."""
        return self.view.endpoints(service, now=self._clock())

    def holds_otherwise(self, key: str, value: bytes, *, revision: int) -> bool:
        """Whether a key below the registry or the hosts, written at `revision`, holds something else by now, or is gone."""
        if not key.startswith((keys.REGISTRY, keys.HOSTS)) or self.view.revision <= revision:
            return False
        item = self._items.get(key)
        return item is None or item.value != value

    async def run(self, store: Store) -> None:
        """Follow the store, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._save())
            while True:
                await self._follow(store)
                await asyncio.sleep(LOOK_AGAIN)

    async def _follow(self, store: Store) -> None:
        """Until the store has to be listed anew because it became, or stopped being, ours."""
        async with aclosing(follow(store, PREFIXES, clock=self._clock)) as updates:
            async for update in updates:
                match update:
                    case Relisted(listing):
                        self.stale_since = None
                        self._relist(listing)
                    case Changed(batch):
                        self.stale_since = None
                        if any(event.key == keys.META_LAYOUT for event in batch.events):
                            return
                        if not self.objection:
                            self._apply(batch)
                    case Stale(since):
                        self.stale_since = since
                self._changed()

    def _relist(self, listing: Listing) -> None:
        found, objection = _judge(self.layout, listing)
        if objection != self.objection:
            if objection:
                logger.error("the store is not followed", extra={"error": objection})
            self.objection = objection
        if objection or found is None:
            return
        self.layout = found
        self.source = Source.ETCD
        present = {item.key: item for item in listing.items}
        self._lost.update(
            {key: item for key, item in self._items.items() if key not in present and key.startswith(keys.REGISTRY)}
        )
        self._items = {key: item for key, item in present.items() if not key.startswith(keys.BARRIER)}
        self.view = self.view.relist(_of(listing, keys.REGISTRY, keys.HOSTS), now=self._clock())
        self.barriers = frozenset(key for key in present if key.startswith(keys.BARRIER))
        self._publish(self.published.relist(_of(listing, keys.COMPILED).items))
        self._read_trust()
        self._dirty.set()
        self.listed.set()

    def _apply(self, batch: Batch) -> None:
        for event in batch.events:
            if event.key.startswith(keys.BARRIER):
                held = {event.key}
                self.barriers = self.barriers - held if event.item is None else self.barriers | held
                continue
            gone = self._items.pop(event.key, None)
            if event.item is not None:
                self._items[event.key] = event.item
                self._lost.pop(event.key, None)
            elif gone is not None and event.key.startswith(keys.REGISTRY):
                self._lost[event.key] = gone
            self._dirty.set()
        if any(event.key.startswith(PKI) for event in batch.events):
            self._read_trust()
        self._publish(self.published.apply(batch.events))
        self.view = self.view.apply(batch, now=self._clock())

    def _read_trust(self) -> None:
        """Whom to believe; a bundle that is gone or cannot be read changes nothing: empty is not the same as lost."""
        item, mesh = self._items.get(keys.PKI_TRUST), self.layout
        try:
            if item is not None and mesh is not None:
                bundle = trust.decode(item.value)
                roots = bundle.of(mesh.trust_domain)
                self.roots = roots or self.roots
                self.signing = tuple(root for root in roots if bundle.mark(root).state == trust.ACTIVE)
        except trust.InvalidTrustBundle as error:
            logger.error("the mesh's roots cannot be read", extra={"key": keys.PKI_TRUST, "error": str(error)})
        revoked = (key.removeprefix(keys.PKI_REVOKED) for key in self._items if key.startswith(keys.PKI_REVOKED))
        self.revoked = tuple(sorted(revoked))

    def _publish(self, published: Published) -> None:
        for key, error in published.invalid.items():
            if self.published.invalid.get(key) != error:
                logger.error("a compiled key cannot be used", extra={"key": key, "error": error})
        self.published = published
        if not published.incomplete and self._take is not None:
            self._take.cancel()
            self._take = None
        elif published.incomplete and self._take is None:
            self._take = asyncio.get_running_loop().call_later(WAIT_FOR_HEAD, self._give_up_waiting)

    def _give_up_waiting(self) -> None:
        self._take = None
        self.published = self.published.take()
        logger.warning(
            "a publication has no end; what there is of it is used", extra={"revision": self.published.revision}
        )
        self._changed()

    async def _save(self) -> None:
        try:
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                self._prune()
                found, revision = self.layout, int(self.view.revision)
                await asyncio.to_thread(self._keep, found, revision, dict(self._items), dict(self._lost))
                await asyncio.sleep(SAVE_EVERY)
        finally:
            if self._dirty.is_set():
                self._prune()
                self._keep(self.layout, int(self.view.revision), self._items, self._lost)

    def _write(self, content: bytes) -> None:
        try:
            replace_file(self._path, content)
        except OSError as error:
            logger.error("the last view cannot be kept", extra={"file": str(self._path), "error": str(error)})

    def _prune(self) -> None:
        """Forget the lost instances that nobody would call any more."""
        places = {key: keys.parse_instance(key) for key in self._lost}
        called = {
            (service, endpoint.instance)
            for service in {service for service, _ in places.values()}
            for endpoint in self.endpoints(service)
        }
        self._lost = {key: item for key, item in self._lost.items() if places[key] in called}

    def _keep(self, found: Layout | None, revision: int, items: Mapping[str, Item], lost: Mapping[str, Item]) -> None:
        """Write it; only items that changed since the last time are encoded. In a thread: it takes copies."""
        with self._keeping:  # the last one comes while the one before may still be on its way
            self._write(self._pack(found, revision, items, lost))

    def _pack(self, found: Layout | None, revision: int, items: Mapping[str, Item], lost: Mapping[str, Item]) -> bytes:
        before, self._packed = self._packed, {}

        def packed(of: Mapping[str, Item]) -> bytes:
            parts = [_PACKER.pack_array_header(len(of))]
            for key, item in of.items():
                known = before.get(key)
                if known is None or known[0] is not item:
                    known = item, msgpack.packb(_plain(item), use_bin_type=True)
                self._packed[key] = known
                parts.append(known[1])
            return b"".join(parts)

        head = {"layout": None if found is None else layout.encode(found), "revision": revision}
        parts = [_PACKER.pack_map_header(len(head) + 2)]
        for name, value in head.items():
            parts += [_PACKER.pack(name), _PACKER.pack(value)]
        parts += [_PACKER.pack("items"), packed(items), _PACKER.pack("lost"), packed(lost)]
        return b"".join(parts)

    def _load(self) -> None:
        content = read_file(self._path)
        if content is None:
            return
        try:
            plain = msgpack.unpackb(content, raw=False)
            items = [_item(entry) for entry in plain["items"]]
            lost = [_item(entry) for entry in plain["lost"]]
            kept = Listing(Revision(plain["revision"]), tuple(items))
            self.layout = None if plain["layout"] is None else layout.decode(plain["layout"])
        except (ValueError, TypeError, KeyError, msgpack.UnpackException, InvalidLayout) as error:
            logger.error("the last view on disk is not used", extra={"file": str(self._path), "error": str(error)})
            return
        self._items = {item.key: item for item in items}
        self._lost = {item.key: item for item in lost}
        now = self._clock()
        everything = _of(Listing(kept.revision, (*items, *lost)), keys.REGISTRY)
        self.view = self.view.relist(everything, now=now).relist(_of(kept, keys.REGISTRY, keys.HOSTS), now=now)
        self.published = Published().relist(_of(kept, keys.COMPILED).items).take()
        self._read_trust()
        self.source = Source.DISK


def _judge(known: Layout | None, listing: Listing) -> tuple[Layout | None, str]:
    """The layout in a store, and why a host that knows `known` must not follow it, or nothing where it may."""
    value = next((item.value for item in listing.items if item.key == keys.META_LAYOUT), None)
    if value is None:
        return None, "the store holds no mesh (no meta/layout): is a controller running?"
    try:
        found = layout.decode(value)
    except InvalidLayout as error:
        return None, str(error)
    if known is not None and known.mesh_id != found.mesh_id:
        return found, (
            f"the store holds mesh {found.mesh_id}, this host belongs to {known.mesh_id}: run `weft adopt` to change that"
        )
    return found, ""


def _of(listing: Listing, *prefixes: str) -> Listing:
    return Listing(listing.revision, tuple(item for item in listing.items if item.key.startswith(prefixes)))


def _plain(item: Item) -> list[object]:
    return [item.key, item.value, item.create_revision, item.mod_revision, item.version, item.lease]


def _item(entry: Mapping[int, object] | list[object]) -> Item:
    key, value, created, modified, version, lease = entry
    if not (isinstance(key, str) and isinstance(value, bytes)):
        raise ValueError(f"{key!r} is not an item")
    return Item(
        key,
        value,
        Revision(int(str(created))),
        Revision(int(str(modified))),
        int(str(version)),
        LeaseId(int(str(lease))),
    )
