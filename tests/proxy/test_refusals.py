"""What an engine is given instead of what it refused."""

from __future__ import annotations

from proxy.refusals import DENIED, Refusal, instead, refuse, standing

NEW = {"host": b"h", "service/shop/api": b"new", "listener/x": b"l"}


def refusal(section: str, value: bytes, *, again: int = 0) -> dict[str, Refusal]:
    return {section: Refusal(section, "invalid_section", "routes[0]", "bad", value, again)}


def test_a_refused_section_stays_as_it_was_last_accepted() -> None:
    sent = instead(NEW, {"service/shop/api": b"old"}, refusal("service/shop/api", b"new"))
    assert sent == {**NEW, "service/shop/api": b"old"}


def test_a_refused_service_that_is_new_denies() -> None:
    assert instead(NEW, {}, refusal("service/shop/api", b"new"))["service/shop/api"] == DENIED


def test_anything_else_that_is_new_and_refused_is_left_out() -> None:
    assert "listener/x" not in instead(NEW, {}, refusal("listener/x", b"l"))


def test_a_refusal_ends_when_the_section_changes() -> None:
    changed = {**NEW, "service/shop/api": b"newer"}
    refused = refusal("service/shop/api", b"new")
    assert standing(refused, changed) == {}
    assert instead(changed, {"service/shop/api": b"old"}, refused) == changed


def test_a_substitute_that_is_refused_too_gives_way_to_the_next() -> None:
    refused = refusal("service/shop/api", b"new")
    accepted = {"service/shop/api": b"old"}
    again = refuse(refused, NEW, Refusal("service/shop/api", "unsupported", "", "old too", b"new"))
    assert instead(NEW, accepted, again)["service/shop/api"] == DENIED
    for _ in range(2):
        again = refuse(again, NEW, Refusal("service/shop/api", "unsupported", "", "all", b"new"))
    assert "service/shop/api" not in instead(NEW, accepted, again)
    assert again["service/shop/api"].path == "routes[0]", "the first refusal is the one that is reported"
