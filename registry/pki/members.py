"""What a signer knows of the mesh: its names, roster, trust and revocations, as of one revision. Pure.

Folded from the store by the controller and kept on its disk, so that it goes on signing for hosts it knows while etcd is
away. A value that cannot be read is left out: nobody gets an identity from an entry that nobody understands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import orjson

from registry import keys, layout
from registry.pki import roster, trust
from registry.store import Batch, Listing

PREFIXES = (keys.META_LAYOUT, keys.ROSTER, keys.PKI_TRUST, keys.PKI_REVOKED)


@dataclass(frozen=True, slots=True)
class Members:
    """The mesh as of `revision`; `values` holds the stored bytes, the properties what they mean."""

    revision: int = 0
    values: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def layout(self) -> layout.Layout | None:
        """Which mesh it is, once there is one. Raises `InvalidLayout` for one that is newer than this program."""
        value = self.values.get(keys.META_LAYOUT)
        return layout.decode(value) if value is not None else None

    @property
    def roots(self) -> tuple[str, ...]:
        """The roots of the mesh's own trust domain, as PEM; none where no bundle is known."""
        value, mesh = self.values.get(keys.PKI_TRUST), self.layout
        if value is None or mesh is None:
            return ()
        try:
            return trust.decode(value).of(mesh.trust_domain)
        except trust.InvalidTrustBundle:
            return ()

    @property
    def active(self) -> tuple[str, ...]:
        """The roots of the mesh's own trust domain that are signed with, as PEM."""
        value, mesh = self.values.get(keys.PKI_TRUST), self.layout
        if value is None or mesh is None:
            return ()
        try:
            bundle = trust.decode(value)
        except trust.InvalidTrustBundle:
            return ()
        return tuple(root for root in bundle.of(mesh.trust_domain) if bundle.mark(root).state == trust.ACTIVE)

    @property
    def revoked(self) -> tuple[str, ...]:
        """Serials of revoked certificates, in order."""
        return tuple(
            sorted(key.removeprefix(keys.PKI_REVOKED) for key in self.values if key.startswith(keys.PKI_REVOKED))
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names in the roster, in order."""
        return tuple(sorted(key.removeprefix(keys.ROSTER) for key in self.values if key.startswith(keys.ROSTER)))

    def entry(self, host: str) -> roster.RosterEntry | None:
        """A host's roster entry, if it has one that can be read."""
        value = self.values.get(keys.roster(host))
        try:
            return roster.decode(value) if value is not None else None
        except roster.InvalidRosterEntry:
            return None

    def relist(self, listing: Listing) -> Members:
        """The mesh as a listing of `PREFIXES` shows it."""
        return Members(listing.revision, {item.key: item.value for item in listing.items})

    def apply(self, batch: Batch) -> Members:
        """The mesh after one revision."""
        changed = {event.key for event in batch.events}
        values = {key: value for key, value in self.values.items() if key not in changed}
        values.update((event.key, event.item.value) for event in batch.events if event.item is not None)
        return replace(self, revision=batch.revision, values=values)


def encode(members: Members) -> bytes:
    """For the disk."""
    values = {key: value.decode("utf-8", "replace") for key, value in members.values.items()}
    return orjson.dumps({"revision": members.revision, "values": values})


def decode(content: bytes) -> Members:
    """The inverse of `encode`; a damaged file is as good as none."""
    try:
        fields = orjson.loads(content)
        return Members(int(fields["revision"]), dict(_encoded(fields["values"].items())))
    except (ValueError, TypeError, KeyError, AttributeError):
        return Members()


def _encoded(values: Iterable[tuple[str, str]]) -> Iterable[tuple[str, bytes]]:
    return ((key, value.encode()) for key, value in values)
