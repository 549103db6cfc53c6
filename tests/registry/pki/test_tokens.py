"""Join tokens: what they allow, and that spending one is all or nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from registry import keys
from registry.memory import MemoryStore
from registry.names import InvalidName
from registry.pki import roster, tokens
from registry.pki.errors import IdentityRefusedError
from registry.pki.tokens import Token

pytestmark = pytest.mark.anyio

NOW = 1_000_000.0
ROOT = "ab" * 32


async def make(store: MemoryStore, *, host: str = "*", uses: int = 1, services: tuple[str, ...] = ("*",)) -> Token:
    return await tokens.create(
        store, root_digest=ROOT, services=services, host=host, uses=uses, validity=timedelta(hours=1), now=NOW
    )


async def spend(store: MemoryStore, token: Token, host: str = "vm-1", key: str = "k1", now: float = NOW) -> str:
    """`ok`, or the code of the refusal."""
    try:
        await tokens.spend(store, token, host=host, key_digest=key, now=now)
    except IdentityRefusedError as error:
        return error.code
    return "ok"


def test_a_token_reads_back_from_its_text() -> None:
    token = Token.make(ROOT)
    assert Token.parse(f"  {token.text}\n") == token


@pytest.mark.parametrize(
    "text", ["", "weft-join", "weft-join.12.34", "weft-join." + "a" * 64, "x." + "a" * 64 + "." + ROOT]
)
def test_a_text_that_is_no_token_is_refused_as_such(text: str) -> None:
    with pytest.raises(IdentityRefusedError) as refusal:
        Token.parse(text)
    assert refusal.value.code == "invalid_token"


def test_a_token_does_not_show_its_secret_when_printed() -> None:
    token = Token.make(ROOT)
    assert token.secret not in repr(token)


async def test_the_store_never_holds_the_token() -> None:
    store = MemoryStore()
    token = await make(store)
    listing = await store.list("")
    assert [item.key for item in listing.items] == [keys.token(token.digest)]
    assert all(token.secret not in item.key and token.secret.encode() not in item.value for item in listing.items)


async def test_spending_a_token_puts_the_host_on_the_roster_in_the_same_revision() -> None:
    store = MemoryStore()
    token = await make(store, services=("shop/*", "gateway:edge"))
    assert await spend(store, token) == "ok"
    entry = await store.get(keys.roster("vm-1"))
    spent = await store.get(keys.token(token.digest))
    assert entry is not None
    assert spent is not None
    assert roster.decode(entry.value) == roster.RosterEntry(NOW, ("shop/*", "gateway:edge"))
    assert entry.mod_revision == spent.mod_revision


async def test_each_way_a_token_can_be_wrong_has_its_own_code() -> None:
    store = MemoryStore()
    once = await make(store)
    assert await spend(store, once) == "ok"
    assert await spend(store, once, host="vm-2", key="k2") == "token_spent"
    assert await spend(store, Token.make(ROOT)) == "token_unknown"
    assert await spend(store, await make(store, host="vm-7"), host="vm-8") == "token_other_host"
    assert await spend(store, await make(store), host="vm-9", now=NOW + 3600) == "token_expired"
    assert await store.get(keys.roster("vm-8")) is None
    assert await store.get(keys.roster("vm-9")) is None


async def test_an_answer_that_got_lost_may_be_asked_for_again_with_the_same_key_only() -> None:
    store = MemoryStore()
    token = await make(store)
    assert await spend(store, token, key="k1") == "ok"
    assert await spend(store, token, key="k1") == "ok"
    assert await spend(store, token, key="k2") == "token_spent"


async def test_a_token_for_any_host_cannot_take_the_name_of_one_that_is_there() -> None:
    store = MemoryStore()
    assert await spend(store, await make(store)) == "ok"
    assert await spend(store, await make(store), key="k2") == "host_exists"
    assert await spend(store, await make(store, host="vm-1"), key="k2") == "ok"


async def test_of_hosts_that_spend_one_token_at_once_as_many_get_in_as_it_allows() -> None:
    store = MemoryStore()
    token = await make(store, uses=3)
    results = await asyncio.gather(*(spend(store, token, host=f"vm-{n}", key=f"k{n}") for n in range(6)))
    assert sorted(results) == ["ok"] * 3 + ["token_spent"] * 3
    assert len((await store.list(keys.ROSTER)).items) == 3


async def test_a_token_with_a_pattern_that_means_nothing_is_not_made() -> None:
    store = MemoryStore()
    with pytest.raises(InvalidName):
        await make(store, services=("Shop",))
    assert (await store.list("")).items == ()
