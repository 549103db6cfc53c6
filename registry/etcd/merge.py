"""PURE: watch responses in, whole revisions out, in order.

etcd tells each watch of a stream apart: one transaction that touches two prefixes comes as two responses, and a watch
that was slow comes later than its neighbours. So with several watches a revision is whole only when etcd has said that
all of them are told up to it (a progress response, which it gives when all are in step). With one watch a complete
response is whole by itself: etcd never splits a revision over two of them, only over fragments of one.

How it fails: `OutOfOrderError` when an event arrives for a revision that was already told; the reader lists again.
"""

from __future__ import annotations

from collections.abc import Sequence

from registry.store import Batch, Event, Revision


class OutOfOrderError(Exception):
    """An event came after its revision was told as whole: what was told cannot be trusted."""

    code = "out_of_order"


class Merge:
    """The events of one stream that are not told yet. `told` is the revision up to which everything was told before."""

    def __init__(self, *, watches: int, told: Revision) -> None:
        self._alone = watches == 1
        self._known = told
        self._told = told
        self._partial: dict[int, list[Event]] = {}
        self._held: dict[int, list[Event]] = {}

    def __repr__(self) -> str:
        return f"Merge(told={self._told}, held={sorted(self._held)})"

    @property
    def waiting(self) -> bool:
        """Whether events are held back until progress proves their revisions whole."""
        return bool(self._held)

    def events(self, watch: int, events: Sequence[Event], *, fragment: bool) -> list[Batch]:
        """A response of one watch, and the batches it completes. `fragment` says that more of the same follows."""
        self._partial.setdefault(watch, []).extend(events)
        if fragment:
            return []
        whole = self._partial.pop(watch)
        for event in whole:
            if event.revision <= self._known:
                continue  # told before this stream began
            if event.revision <= self._told:
                raise OutOfOrderError(f"{event.key!r} changed at {event.revision}, told after {self._told}")
            self._held.setdefault(event.revision, []).append(event)
        return self._release(max(self._held)) if self._alone and self._held else []

    def progress(self, revision: int) -> list[Batch]:
        """All watches are told up to here: what is whole now, or the progress itself where nothing is."""
        released = self._release(revision)
        if released and released[-1].revision >= revision:
            return released
        if revision < self._told:
            return released
        self._told = Revision(revision)
        return [*released, Batch(Revision(revision), ())]

    def _release(self, revision: int) -> list[Batch]:
        ready = sorted(held for held in self._held if held <= revision)
        batches = [
            Batch(Revision(held), tuple(sorted(self._held.pop(held), key=lambda event: event.key))) for held in ready
        ]
        if batches:
            self._told = batches[-1].revision
        return batches
