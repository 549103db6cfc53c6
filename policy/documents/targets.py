"""How documents name services and callers: one grammar, in this file only.

`web` (own namespace), `shop/web`, `shop/*`, `*`, `spiffe://…`, `gateway:edge`. What a compiled rule holds is the same with
the namespace filled in (`registry.names`), so that no reader has to know where a document stood.
"""

from __future__ import annotations

from registry.names import InvalidName, ServiceName, SpiffeId, check_name

GRAMMAR = "write web, shop/web, shop/*, *, gateway:edge or spiffe://…"


class InvalidTarget(ValueError):
    """A text that names no service or caller. The message says what to write."""

    code = "invalid_target"


def check_caller(text: str) -> str:
    """`text` itself, if it names callers; raises `InvalidTarget`."""
    resolve_caller(text, namespace="default")
    return text


def resolve_caller(text: str, *, namespace: str) -> str:
    """What a compiled rule holds for a caller written in a document of `namespace`; raises `InvalidTarget`."""
    try:
        if text == "*":
            return text
        if text.startswith("spiffe://"):
            return str(SpiffeId.parse(text))
        if text.startswith("gateway:"):
            return "gateway:" + check_name(text.removeprefix("gateway:"), what="gateway")
        if text.endswith("/*"):
            return check_name(text.removesuffix("/*"), what="namespace") + "/*"
        return str(ServiceName.parse(text, namespace=namespace))
    except InvalidName as error:
        raise InvalidTarget(f"{text!r} names no caller: {error}; {GRAMMAR}") from error


def check_service(text: str) -> str:
    """`text` itself, if it names one service that requests can be sent to; raises `InvalidTarget`."""
    resolve_service(text, namespace="default")
    return text


def resolve_service(text: str, *, namespace: str) -> ServiceName:
    """The one service that `text` names in a document of `namespace`; raises `InvalidTarget`."""
    if text.endswith("*") or ":" in text:
        raise InvalidTarget(f"{text!r} is no single service that requests can be sent to: write web or shop/web")
    try:
        return ServiceName.parse(text, namespace=namespace)
    except InvalidName as error:
        raise InvalidTarget(f"{text!r} names no service: {error}; write web or shop/web") from error
