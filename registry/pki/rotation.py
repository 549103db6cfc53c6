"""One root after another: PURE. What is trusted, what is signed with, and when that changes.

A new root comes in as `next`. When every host of the roster says that it trusts it, and a controller can sign with it, it
becomes `active` and the one before `old`; hosts renew what they hold. When no host holds anything under the old one, it is
forgotten. The whole state stands in `pki/trust`, so that whoever leads goes on where the last one died. A host that says
nothing holds everything up, until it is forgotten or its certificates have ended.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from cryptography import x509

from registry.pki import certificates, trust
from registry.pki.authority import HOST_LIFE
from registry.pki.errors import IdentityRefusedError
from registry.pki.trust import ACTIVE, NEXT, OLD, Mark, TrustBundle


@dataclass(frozen=True, slots=True)
class HostTrust:
    """What a host's ack says: the roots it trusts, and those that anything it holds ends in, by fingerprint."""

    trusts: frozenset[str] = frozenset()
    under: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """Where a rotation stands: `to` is the bundle it may go on to now, `waits_for` who keeps it, and for what."""

    doing: str
    to: TrustBundle | None = None
    waits_for: Mapping[str, str] = field(default_factory=dict)


def begin(bundle: TrustBundle, trust_domain: str, root: str, *, now: float) -> TrustBundle:
    """With a root that will be signed with. One that is there already changes nothing; refused while another is coming."""
    certificate = x509.load_pem_x509_certificate(root.encode())
    if certificates.trust_domain_of(certificate) != trust_domain:
        raise IdentityRefusedError(
            "invalid_ca", f"that root is of {certificates.trust_domain_of(certificate)}, the mesh is {trust_domain}"
        )
    root = certificates.pem(certificate).decode()
    roots = bundle.roots.get(trust_domain, ())
    if root in roots:
        return bundle
    for other in roots:
        if bundle.mark(other).state != ACTIVE:
            raise IdentityRefusedError(
                "rotation_under_way", f"root {name(other)} is {bundle.mark(other).state}: one rotation at a time"
            )
    return replace(
        bundle,
        roots={**bundle.roots, trust_domain: (*roots, root)},
        marks={**bundle.marks, root: Mark(NEXT, now)},
    )


def abort(bundle: TrustBundle, trust_domain: str) -> TrustBundle:
    """Without the root that was to come; refused where nothing is coming, or it is signed with already."""
    coming = _in_state(bundle, trust_domain, NEXT)
    if not coming:
        raise IdentityRefusedError("no_rotation", "no root is to come: what is signed with already stays")
    return _without(bundle, trust_domain, coming)


def step(
    bundle: TrustBundle,
    trust_domain: str,
    *,
    roster: Collection[str],
    hosts: Mapping[str, HostTrust],
    can_sign: Collection[str],
    now: float,
) -> Step:
    """Where it stands. `can_sign`: the roots (PEM) under which whoever leads has power to sign."""
    if coming := _in_state(bundle, trust_domain, NEXT):
        return _to_active(bundle, trust_domain, coming[0], roster=roster, hosts=hosts, can_sign=can_sign, now=now)
    if leaving := _in_state(bundle, trust_domain, OLD):
        return _to_nothing(bundle, trust_domain, leaving, roster=roster, hosts=hosts, now=now)
    return Step("none")


def name(root: str) -> str:
    """What people call a root: the beginning of its fingerprint."""
    return print_of(root)[:12]


def print_of(root: str) -> str:
    """The fingerprint of a PEM root, as acks have it."""
    return trust.fingerprint(certificates.der(x509.load_pem_x509_certificate(root.encode())))


def _to_active(
    bundle: TrustBundle,
    trust_domain: str,
    coming: str,
    *,
    roster: Collection[str],
    hosts: Mapping[str, HostTrust],
    can_sign: Collection[str],
    now: float,
) -> Step:
    mark = print_of(coming)
    waits = {
        host: f"does not trust {name(coming)} yet"
        for host in sorted(roster)
        if mark not in hosts.get(host, HostTrust()).trusts
    }
    if coming not in can_sign:
        waits["the leading controller"] = (
            f"has no intermediate under {name(coming)}: weft ca intermediate, into a folder of its [ca] dir"
        )
    if waits:
        return Step("trusting", waits_for=waits)
    marks = {
        root: Mark(ACTIVE, now) if root == coming else Mark(OLD, now) if bundle.mark(root).state == ACTIVE else known
        for root in bundle.roots[trust_domain]
        for known in (bundle.mark(root),)
    }
    return Step("trusting", replace(bundle, marks={**bundle.marks, **marks}))


def _to_nothing(
    bundle: TrustBundle,
    trust_domain: str,
    leaving: tuple[str, ...],
    *,
    roster: Collection[str],
    hosts: Mapping[str, HostTrust],
    now: float,
) -> Step:
    prints = {print_of(root) for root in leaving}
    ended = all(now > bundle.mark(root).since + HOST_LIFE.total_seconds() for root in leaving)
    active = {print_of(root) for root in _in_state(bundle, trust_domain, ACTIVE)}
    waits: dict[str, str] = {}
    for host in () if ended else sorted(roster):
        known = hosts.get(host)
        if known is None or not active <= known.trusts:
            waits[host] = "does not say what it holds"
        elif prints & known.under:
            waits[host] = f"holds certificates under {name(leaving[0])}"
    return Step("renewing", None if waits else _without(bundle, trust_domain, leaving), waits)


def _in_state(bundle: TrustBundle, trust_domain: str, state: str) -> tuple[str, ...]:
    return tuple(root for root in bundle.roots.get(trust_domain, ()) if bundle.mark(root).state == state)


def _without(bundle: TrustBundle, trust_domain: str, gone: Collection[str]) -> TrustBundle:
    kept = tuple(root for root in bundle.roots[trust_domain] if root not in gone)
    return TrustBundle(
        {**bundle.roots, trust_domain: kept}, {root: mark for root, mark in bundle.marks.items() if root not in gone}
    )
