"""What everyone reads first: which mesh this is, and whether we understand how it writes (`meta/layout`).

Written once, by the first controller. A reader refuses a layout that asks for more than it knows, instead of guessing.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import orjson

from registry.names import SpiffeId, check_name

LAYOUT = 1
READS = 1
WRITES = 1


class InvalidLayout(ValueError):
    """A value under `meta/layout` that cannot be read, or that a newer Weft wrote."""

    code = "invalid_layout"


@dataclass(frozen=True, slots=True)
class Layout:
    """The mesh behind a root of etcd: its own id, its names, and the versions its readers and writers must know."""

    mesh_id: str
    trust_domain: str
    datacenter: str
    layout: int = LAYOUT
    min_reader: int = 1
    min_writer: int = 1

    @classmethod
    def new(cls, trust_domain: str, datacenter: str) -> Layout:
        """A mesh that does not exist yet; raises `InvalidName`."""
        SpiffeId(trust_domain, "/check")
        return cls(uuid.uuid4().hex, trust_domain, check_name(datacenter, what="datacenter"))


def encode(layout: Layout) -> bytes:
    """As stored."""
    return orjson.dumps(layout)


def decode(value: bytes) -> Layout:
    """The inverse of `encode`; raises `InvalidLayout`, also for a layout newer than this program."""
    try:
        fields = orjson.loads(value)
        layout = Layout(
            str(fields["mesh_id"]),
            str(fields["trust_domain"]),
            str(fields["datacenter"]),
            int(fields["layout"]),
            int(fields["min_reader"]),
            int(fields["min_writer"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidLayout(
            f"meta/layout cannot be read ({error!r}): is this root of etcd really a mesh of Weft?"
        ) from error
    if layout.min_reader > READS or layout.min_writer > WRITES:
        raise InvalidLayout(
            f"the mesh has layout {layout.layout}, which asks for readers of {layout.min_reader} and writers of "
            f"{layout.min_writer}; this program knows {READS} and {WRITES}: upgrade it"
        )
    return layout
