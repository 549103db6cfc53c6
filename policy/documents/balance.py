"""How requests are spread: `balance` and `zone` of Traffic and Defaults."""

from __future__ import annotations

from typing import Annotated, Literal, cast

from pydantic import AfterValidator, Field, model_validator

from policy import compiled
from policy.documents.fields import Flag, HeaderName, Percentage, Spec, Text, exactly_one, fault, text_of, words

Word = Literal["p2c", "least_request", "round_robin", "random"]
_WORD = words(Word)
MAGLEV_MOST = 5_000_011


def _name(text: str) -> str:
    if not 0 < len(text) <= 256 or not all("!" <= letter <= "~" and letter not in '"#&,;=\\' for letter in text):
        raise fault("bad_name", f"{text!r} is no name of a cookie or parameter")
    return text


def _prime(size: int) -> int:
    if not 1 < size <= MAGLEV_MOST or any(size % divisor == 0 for divisor in range(2, int(size**0.5) + 1)):
        raise fault("out_of_range", f"{size} is no size of a table: write a prime of at most {MAGLEV_MOST}")
    return size


def _true(flag: bool) -> bool:
    if not flag:
        raise fault("out_of_range", "only true can be said here")
    return flag


class HashOnSpec(Spec):
    """`{header | cookie | query: NAME}` or `{source_address: true}`: what requests to one endpoint have in common."""

    header: HeaderName | None = None
    cookie: Annotated[Text, AfterValidator(_name)] | None = None
    query: Annotated[Text, AfterValidator(_name)] | None = None
    source_address: Annotated[Flag, AfterValidator(_true)] | None = None

    @model_validator(mode="after")
    def _one(self) -> HashOnSpec:
        exactly_one(self, "header", "cookie", "query", "source_address")
        return self

    def key(self) -> compiled.HashOn:
        """As the engine computes it."""
        if self.header is not None:
            return compiled.HeaderKey(self.header)
        if self.cookie is not None:
            return compiled.CookieKey(self.cookie)
        if self.query is not None:
            return compiled.QueryKey(self.query)
        return compiled.SourceKey()


class MaglevSpec(HashOnSpec):
    """`table_size` is a prime, a hundred times the number of endpoints for an even spread."""

    table_size: Annotated[int, Field(strict=True), AfterValidator(_prime)] | None = None


class BalanceSpec(Spec):
    """A word, `{ring_hash: …}` or `{maglev: …}`."""

    word: Word | None = None
    ring_hash: HashOnSpec | None = None
    maglev: MaglevSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _string(cls, value: object) -> object:
        if isinstance(value, dict):
            if "word" in value:
                raise fault("unknown_field", cls._unknown("word"))
            return value
        text = text_of(value)
        if text in ("ring_hash", "maglev"):
            raise fault("missing_field", f"{text} needs a key: write {{{text}: {{header: x-user}}}}")
        return {"word": _WORD.func(text)}  # type: ignore[call-arg]

    @classmethod
    def _unknown(cls, name: str) -> str:
        return f"there is no field {name!r} here: there are maglev, ring_hash, and words such as p2c without a map"

    @model_validator(mode="after")
    def _one(self) -> BalanceSpec:
        exactly_one(self, "word", "ring_hash", "maglev")
        return self

    def compiled(self) -> compiled.Balance:
        """As the engine does it."""
        if self.ring_hash is not None:
            return compiled.RingHash(self.ring_hash.key())
        if self.maglev is not None:
            size = self.maglev.table_size
            table = compiled.MaglevTable(self.maglev.key())
            return compiled.Maglev(table if size is None else compiled.MaglevTable(self.maglev.key(), size))
        return cast("Word", self.word)


class ZoneSpec(Spec):
    """`prefer: same` keeps requests in the caller's zone while enough of it is healthy; `any` takes a default back."""

    prefer: Annotated[Literal["same", "any"], words(Literal["same", "any"])]
    spill_below: Percentage | None = None
