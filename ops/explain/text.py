"""An explanation for people: the decision first, then a line or two for each part of the way. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ops.explain.doors import CALLED
from ops.explain.evaluator import Access
from ops.explain.explanation import Explanation, Seen, Share
from ops.explain.values import Setting

WIDTH = 10
BY_DEFAULT = "the default"
STATES = ("up", "down", "drain", "suspect", "ejected")
"""Why an instance gets nothing; else it lacks a label, which is told only to who asks for all."""
MOST = 8
"""Rules and endpoints beyond are counted; `-o wide` tells all."""


def lines(found: Explanation, *, wide: bool = False) -> Iterable[str]:
    """What is printed."""
    most = 10_000 if wide else MOST
    yield _decision(found)
    at = f"{found.listener} ({found.address})" if found.address else found.listener
    yield from _part("at", [f"{at}, {found.source}; policy {found.policy}, registry {found.registry}"])
    if found.listener != CALLED and found.protocol != "tcp" and (found.to or found.tried):
        yield from _part("route", _route(found, most))
    yield from _part("limits", [f"{one}, at the gateway" for one in found.limits])
    sent = [found.sent_target, f"host {found.sent_host}" if found.sent_host else ""]
    yield from _part("rewritten", [" ".join(filter(None, sent))] if any(sent) else [])
    yield from _part("to", _shares(found, most))
    seen: list[tuple[object, ...]] = []
    for share in (found.elsewhere, *found.to):
        if share is not None and (said := (share.service, share.access, share.limits, share.faults)) not in seen:
            seen.append(said)
            yield from _part("access", _access(share, several=len({one.service for one in found.to}) > 1, most=most))
            yield from _part("limits", share.limits)
            yield from _part("faults", share.faults)
    by_default = any(share.access is not None and share.access.by == BY_DEFAULT for share in found.to)
    unsaid = {"access"} if not by_default else set[str]()
    unsaid |= {"timeout"} if found.protocol == "tcp" else set()
    settings = [one for one in found.settings if wide or (one.told and one.name not in unsaid)]
    width = max((len(one.name) for one in settings), default=0)
    yield from _part("values", [_setting(one, width) for one in settings])
    yield from _part("note", found.notes)


def _decision(found: Explanation) -> str:
    what = f"{found.method} {found.target}" + (f" of host {found.host}" if found.caller.startswith("gateway:") else "")
    if found.protocol == "tcp":
        what = "a connection"
    way = f"{found.caller or 'nobody'} to {found.service or 'nobody'}"
    match found.outcome:
        case "forward":
            return f"forwarded: {what}, {way}"
        case "answer":
            return f"answered {found.status}: {what}, {way}" + (f": {found.detail}" if found.detail else "")
    return f"refused {found.status} {found.reason}: {what}, {way}: {found.detail}"


def _part(name: str, told: Iterable[str]) -> Iterable[str]:
    for number, line in enumerate(told):
        yield f"  {name if number == 0 else '':<{WIDTH}}{line}"


def _route(found: Explanation, most: int) -> Iterable[str]:
    yield found.route or ("none matches: as the service itself says" if found.outcome == "forward" else "none matches")
    lost: dict[str, list[str]] = {}
    for one in found.tried:
        why = one.by if one.by else one.fate
        if one.fate != "won" and one.rule != found.route and why not in lost.setdefault(one.rule, []):
            lost[one.rule].append(why)
    others = [f"{rule} ({', '.join(why)})" for rule, why in lost.items()]
    left_out = len(others[most:]) + found.left_out
    if others:
        yield f"not {', '.join(others[:most])}" + (f" and {left_out} more" if left_out else "")


def _shares(found: Explanation, most: int) -> Iterable[str]:
    if found.elsewhere is not None:
        yield f"fails over to {found.elsewhere.service}: {_endpoints(found.elsewhere.candidates, most)}"
    for share in found.to:
        part = f"{share.percent:g}% " if len(found.to) > 1 else ""
        labels = "".join(f" {name}={value}" for name, value in share.labels.items())
        yield f"{part}{share.service}{labels}: {_endpoints(share.candidates, most)}"
        others = tuple(one for one in share.others if most > MOST or one.state in STATES)
        if others:
            yield f"not {_endpoints(others, most)}"


def _endpoints(seen: tuple[Seen, ...], most: int) -> str:
    told = [f"{one.instance} {one.state}" for one in seen[:most]]
    return ", ".join(told + ([f"{len(seen) - most} more"] if len(seen) > most else [])) or "nobody"


def _access(share: Share, *, several: bool, most: int) -> Iterable[str]:
    access = share.access
    if access is None:
        return
    where = f" to {share.service}" if several else ""
    yield f"{'allowed' if access.decision == 'allow' else 'denied'}{where}: {_because(access)}"
    if access.shadow is not None:
        yield f"in shadow: {'allowed' if access.shadow.get('decision') == 'allow' else 'denied'}"
    for rule in access.rules[:most]:
        matches = "matches" if rule.matches else f"does not match: {rule.by}"
        yield f"{rule.rule}{' (shadow)' if rule.shadow else ''} {rule.says}s, {matches}"


def _because(access: Access) -> str:
    return access.by if isinstance(access.by, str) else f"rule {access.by['rule']}"


def _setting(one: Setting, width: int) -> str:
    return f"{one.name:<{width}}  {one.value}  ({'documents not seen' if one.origin is None else one.origin})"
