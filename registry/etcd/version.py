"""Which etcd is refused, and what each can be trusted with. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from registry.store import StoreError


class UnsupportedStoreError(StoreError):
    """This etcd must not be used; the message says why and which to take."""

    code = "unsupported_store"


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """An etcd server's version."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """`3.6.16` or `3.7.0-rc.1`; raises ValueError."""
        major, minor, patch = text.partition("-")[0].partition("+")[0].split(".")
        return cls(int(major), int(minor), int(patch))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def orders_progress(self) -> bool:
        """Whether an answer to a progress request comes after all events up to it (etcd issue 15220)."""
        return self >= Version(3, 5, 8) or Version(3, 4, 25) <= self < Version(3, 5, 0)


def check(version: Version, *, endpoint: str) -> None:
    """Raises `UnsupportedStoreError` where acknowledged writes can be lost or the protocol lacks what we need."""
    if Version(3, 5, 0) <= version < Version(3, 5, 6):
        raise UnsupportedStoreError(
            f"etcd at {endpoint} is {version}: 3.5.0 to 3.5.5 can lose acknowledged writes; upgrade to 3.6.14 or later"
        )
    if version < Version(3, 4, 0):
        raise UnsupportedStoreError(
            f"etcd at {endpoint} is {version}: before 3.4 it neither fragments watches nor tells progress; "
            "upgrade to 3.6.14 or later"
        )
