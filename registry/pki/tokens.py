"""Join tokens: how a machine that nobody knows becomes a host, once.

A token is `weft-join.<secret>.<digest of the root's key>`. etcd never holds it: its key is the SHA-256 of the secret, and
its value says what it allows. The digest lets the newcomer recognise the CA before it says its secret.

Spending is one transaction guarded by compares: the token's use and the roster entry are written together or not at all.
An answer that got lost may be asked for again: the token remembers the key of each host that spent it, and that host
(nobody else has the key) gets its certificate once more. How it fails: a refusal of `registry/pki/errors.py`, each reason
with its own code, or `StoreUnavailableError`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import orjson

from registry import keys
from registry.pki import roster
from registry.pki.errors import IdentityRefusedError
from registry.store import Compare, Item, LeaseLostError, Put, Revision, Store

PREFIX = "weft-join"
ANY_HOST = "*"
KEPT_AFTER_END = timedelta(days=1)  # so that "expired" can be told from "never existed"
_ATTEMPTS = 8

_SHAPE = re.compile(rf"{PREFIX}\.([0-9a-f]{{64}})\.([0-9a-f]{{64}})")


@dataclass(frozen=True, slots=True)
class Token:
    """A token in the hands of whoever may use it."""

    secret: str = field(repr=False)
    root_digest: str

    @classmethod
    def make(cls, root_digest: str) -> Token:
        """A new secret of 256 bits for the CA with this key digest."""
        return cls(secrets.token_hex(32), root_digest)

    @classmethod
    def parse(cls, text: str) -> Token:
        """Read a token; refused with `invalid_token`."""
        match = _SHAPE.fullmatch(text.strip())
        if match is None:
            raise IdentityRefusedError("invalid_token", f"this is not of the form {PREFIX}.<secret>.<digest>")
        return cls(match[1], match[2])

    @property
    def digest(self) -> str:
        """What its key in the store is made of."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    @property
    def text(self) -> str:
        """The token as it is handed over."""
        return f"{PREFIX}.{self.secret}.{self.root_digest}"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a token allows: who the host may be, which host, how often, until when (epoch seconds); and who used it."""

    services: tuple[str, ...]
    host: str
    uses: int
    expires: float
    spent_by: Mapping[str, str] = field(default_factory=dict)


def encode(allowance: Allowance) -> bytes:
    """As stored."""
    return orjson.dumps(
        {
            "services": list(allowance.services),
            "host": allowance.host,
            "uses": allowance.uses,
            "expires": allowance.expires,
            "spent_by": dict(allowance.spent_by),
        }
    )


def decode(value: bytes) -> Allowance:
    """The inverse of `encode`; a damaged value is refused with `token_unknown`."""
    try:
        fields = orjson.loads(value)
        return Allowance(
            tuple(roster.check_pattern(pattern) for pattern in fields["services"]),
            str(fields["host"]),
            int(fields["uses"]),
            float(fields["expires"]),
            {str(host): str(digest) for host, digest in fields.get("spent_by", {}).items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IdentityRefusedError(
            "token_unknown", f"what the store says of this token cannot be read: {error!r}"
        ) from error


async def create(
    store: Store,
    *,
    root_digest: str,
    services: Sequence[str],
    host: str = ANY_HOST,
    uses: int = 1,
    validity: timedelta,
    now: float,
) -> Token:
    """Make a token and write what it allows, under a lease. Raises `InvalidName` for a bad pattern or host."""
    checked = tuple(roster.check_pattern(pattern) for pattern in services)
    if host != ANY_HOST:
        keys.roster(host)
    token = Token.make(root_digest)
    lease = await store.grant(validity + KEPT_AFTER_END)
    allowance = Allowance(checked, host, uses, now + validity.total_seconds())
    await store.put(keys.token(token.digest), encode(allowance), lease=lease.id)
    return token


async def spend(store: Store, token: Token, *, host: str, key_digest: str, now: float) -> roster.RosterEntry:
    """Use the token for `host`, whose key has this digest, and write its roster entry: both or neither."""
    for _ in range(_ATTEMPTS):
        item = await store.get(keys.token(token.digest))
        known = await store.get(keys.roster(host))
        if item is None:
            raise IdentityRefusedError("token_unknown", "the mesh has no such token")
        allowance = decode(item.value)
        entry = roster.decode(known.value) if known is not None else None
        if entry is not None and allowance.spent_by.get(host) == key_digest:
            return entry
        judge(allowance, host=host, known=known is not None, now=now)
        entry = roster.RosterEntry(now, allowance.services, entry.labels if entry is not None else {})
        spent = replace(allowance, uses=allowance.uses - 1, spent_by={**allowance.spent_by, host: key_digest})
        if await _write(store, item, known, spent, entry, host):
            return entry
    raise IdentityRefusedError("token_spent", "too many hosts are using this token at this moment: try again")


def judge(allowance: Allowance, *, host: str, known: bool, now: float) -> None:
    """Whether a token may be spent for `host`. Pure.

    A token for any host cannot take the name of one that is already there; one that names it can: that is how a host
    joins again after it lost its disk.
    """
    if allowance.host not in (ANY_HOST, host):
        raise IdentityRefusedError("token_other_host", f"this token is for host {allowance.host}, not {host}")
    if now >= allowance.expires:
        raise IdentityRefusedError("token_expired", f"this token ended {int(now - allowance.expires)} s ago")
    if allowance.uses < 1:
        raise IdentityRefusedError("token_spent", "this token has been used as often as it may")
    if known and allowance.host == ANY_HOST:
        raise IdentityRefusedError("host_exists", f"the mesh has a host {host} already, and this token is for new ones")


async def _write(
    store: Store, item: Item, known: Item | None, spent: Allowance, entry: roster.RosterEntry, host: str
) -> bool:
    """One transaction; False when somebody else was quicker."""
    guards = [
        Compare(item.key, mod_revision=item.mod_revision),
        Compare(keys.roster(host), mod_revision=known.mod_revision if known is not None else Revision(0)),
    ]
    writes = [Put(item.key, encode(spent), lease=item.lease), Put(keys.roster(host), roster.encode(entry))]
    try:
        return (await store.transact(guards, writes)).applied
    except LeaseLostError as error:
        raise IdentityRefusedError("token_expired", "this token ended while it was being used") from error
