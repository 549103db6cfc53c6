"""Targets and regular expressions: one grammar each, and what is outside it is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.documents.regexes import InvalidRegex, check_regex
from policy.documents.targets import InvalidTarget, resolve_caller, resolve_service
from registry.names import ServiceName


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("web", "shop/web"),
        ("other/web", "other/web"),
        ("other/*", "other/*"),
        ("*", "*"),
        ("gateway:edge", "gateway:edge"),
        ("spiffe://corp/ns/shop/dc/ams1/svc/api", "spiffe://corp/ns/shop/dc/ams1/svc/api"),
    ],
)
def test_a_caller_is_resolved_in_the_namespace_of_its_document(text: str, resolved: str) -> None:
    assert resolve_caller(text, namespace="shop") == resolved


@pytest.mark.parametrize(
    "text", ["", "Web", "a/b/c", "*/web", "w*", "gateway:", "gateway:*", "spiffe://", "http://x", "web "]
)
def test_what_names_no_caller_is_refused(text: str) -> None:
    with pytest.raises(InvalidTarget, match="write web"):
        resolve_caller(text, namespace="shop")


def test_requests_go_to_single_services_only() -> None:
    assert resolve_service("other/web", namespace="shop") == ServiceName("other", "web")
    for text in ("*", "shop/*", "gateway:edge", "spiffe://corp/x"):
        with pytest.raises(InvalidTarget, match="no single service"):
            resolve_service(text, namespace="shop")


@pytest.mark.parametrize(
    "pattern",
    [
        "a+b*c?",
        "(?i)abc",
        "(?:a|b)",
        "(?P<n>x)",
        r"[a-z\]\[]{2,3}",
        r"\d+\.\w\b",
        "^/v[0-9]+$",
        r"\x41",
        "a{2}?",
        "[^/]+",
        "",
    ],
)
def test_the_common_part_of_regular_expressions_is_accepted(pattern: str) -> None:
    assert check_regex(pattern) == pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=x)",
        "(?!x)",
        "(?<=x)y",
        "(?<!x)y",
        r"(a)\1",
        "(?P=n)",
        "(?>a)",
        "(?#c)",
        "a++",
        "a**",
        "a{",
        "a{,3}",
        "{",
        "a{1001}",
        "[[]",
        "[]a]",
        "[a&&b]",
        "(",
        ")",
        "*",
        r"\Z",
        r"\q",
        r"\x4",
        "a(?i)",
        "(?a)x",
        "x" * 1001,
        "[",
    ],
)
def test_what_the_engine_would_not_understand_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidRegex):
        check_regex(pattern)


@given(st.text(alphabet=r"ab[](){}?*+|\^$.-&<=!:P1,i", max_size=20))
def test_an_accepted_expression_always_compiles(pattern: str) -> None:
    try:
        check_regex(pattern)
    except InvalidRegex:
        return
    re.compile(pattern)
