"""The roster: which hosts belong to the mesh, and who each of them may be. Pure.

`roster/<host>` is written when a host joins and removed by `weft host forget`. Its `services` are patterns: `*` (every
service), `ns/*`, `ns/service`, `gateway:edge`, `gateway:*`. `*` deliberately leaves gateways out: a host that runs any
service must not thereby become the edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from registry.names import IdentityKind as Kind
from registry.names import InvalidName, ServiceName, SpiffeId, check_name
from registry.pki.errors import IdentityRefusedError


class InvalidRosterEntry(ValueError):
    """A value below `roster/` that is not one."""

    code = "invalid_roster_entry"


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """A host that joined: when (seconds since the epoch), its labels, and who it may be."""

    joined: float
    services: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)


def encode(entry: RosterEntry) -> bytes:
    """As stored."""
    return orjson.dumps({"joined": entry.joined, "labels": dict(entry.labels), "services": list(entry.services)})


def decode(value: bytes) -> RosterEntry:
    """The inverse of `encode`; raises `InvalidRosterEntry`."""
    try:
        fields = orjson.loads(value)
        labels = {str(name): str(label) for name, label in fields.get("labels", {}).items()}
        services = tuple(check_pattern(pattern) for pattern in fields["services"])
        return RosterEntry(float(fields["joined"]), services, labels)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidRosterEntry(f"a roster entry is {{joined, labels, services}}: {error!r}") from error


def check_pattern(pattern: str) -> str:
    """`pattern` itself if it is one; raises `InvalidName` that says what may be written."""
    if pattern == "*":
        return pattern
    try:
        if pattern.startswith("gateway:"):
            gateway = pattern.removeprefix("gateway:")
            if gateway != "*":
                check_name(gateway, what="gateway")
            return pattern
        namespace, _, name = pattern.partition("/")
        check_name(namespace, what="namespace")
        if name != "*":
            check_name(name, what="service")
    except InvalidName as error:
        raise InvalidName(f"{pattern!r}: write '*', 'ns/*', 'ns/service' or 'gateway:name' ({error})") from error
    return pattern


def check_entitlement(
    host: str, allowed: Iterable[str], identity: SpiffeId, *, trust_domain: str, datacenter: str
) -> None:
    """Whether `host` may be `identity`: itself always, services and gateways by its patterns, nobody else.

    Refused with `wrong_trust_domain`, `wrong_datacenter` or `identity_not_allowed`.
    """
    if identity.trust_domain != trust_domain:
        raise IdentityRefusedError(
            "wrong_trust_domain", f"{identity} is not of the trust domain {trust_domain}, which this controller signs"
        )
    match identity.kind:
        case Kind.HOST if identity == SpiffeId.of_host(trust_domain, host):
            return
        case Kind.SERVICE | Kind.GATEWAY:
            if identity.path.split("/")[4] != datacenter:
                raise IdentityRefusedError("wrong_datacenter", f"{identity} is not of the datacenter {datacenter}")
            if any(_covers(pattern, identity) for pattern in allowed):
                return
    raise IdentityRefusedError(
        "identity_not_allowed", f"host {host} may not be {identity}; it may be: {', '.join(allowed) or 'nobody'}"
    )


def _covers(pattern: str, identity: SpiffeId) -> bool:
    if pattern.startswith("gateway:"):
        return identity.kind is Kind.GATEWAY and pattern in ("gateway:*", f"gateway:{identity.last}")
    service = identity.service
    if service is None:
        return False
    return pattern in ("*", f"{service.namespace}/*", str(service))


def patterns(names: Iterable[str], *, namespace: str) -> tuple[str, ...]:
    """Patterns as people write them, where `api` means `api` in `namespace`; raises `InvalidName`."""
    return tuple(
        check_pattern(name if name == "*" or "/" in name or ":" in name else str(ServiceName(namespace, name)))
        for name in names
    )
