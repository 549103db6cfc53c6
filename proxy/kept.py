"""What a snapshot was made of, from one build to the next: a change costs what it touches. The inputs are immutable.

Identity is asked, never equality: whoever hands in the same object gets the same bytes. What one build does not ask for is
forgotten with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by name and by what they were made of."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[tuple[object, ...], T]] = {}
        self._now: dict[str, tuple[tuple[object, ...], T]] = {}

    def __repr__(self) -> str:
        return f"Kept({len(self._before)})"

    def get(self, name: str, made_of: tuple[object, ...], make: Callable[[], T]) -> T:
        """The value of that name if it was made of the same objects last time, else a new one."""
        found = self._before.get(name)
        if found is None or not all(map(_same, found[0], made_of)):
            found = made_of, make()
        self._now[name] = found
        return found[1]

    def turn(self) -> None:
        """A build is over."""
        self._before, self._now = self._now, {}


def _same(one: object, other: object) -> bool:
    return one is other
