"""What instances announce of themselves where there is no etcd, and who is to be believed: pure.

Everything heard is a hint: an endpoint learned here gets a request only if its certificate proves the service's
identity, so whoever shouts loudest gains nothing. A goodbye makes an instance suspect, no more; it is forgotten after
`FORGET_AFTER` or when its callers' probes fail. Announcements of other trust domains, of our own host, malformed ones
and all beyond `MAX_NEIGHBOURS` are left out and counted by reason.

`Announcement` with its codec is what one TXT record carries; `Neighbours` is a fold over what was heard. The shell that
speaks multicast DNS is `registry.mdns`.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from registry.model import Endpoint, Instance, Presence, Protocol, Source, State
from registry.names import InvalidName, ServiceName, check_name

MAX_NEIGHBOURS = 5_000
FORGET_AFTER = 600.0
_VERSION = b"1"


class InvalidAnnouncement(ValueError):
    """An announcement that cannot be believed to mean anything; the message says which field and why."""

    code = "invalid_announcement"


@dataclass(frozen=True, slots=True)
class Announcement:
    """One instance as its host announces it. The application's own port is nobody else's business and is not told."""

    trust_domain: str
    instance: Instance
    zone: str = ""

    @property
    def label(self) -> str:
        """The DNS label of this announcement: readable where it fits into 63 bytes, and unique always."""
        name = f"{self.instance.id}.{self.instance.service.name}.{self.instance.service.namespace}.{self.instance.host}"
        digest = hashlib.sha256(f"{self.trust_domain}/{name}".encode()).hexdigest()[:12]
        return f"{self.instance.id[:24]}-{self.instance.service.name[:24]}-{digest}"


def encode(announcement: Announcement) -> dict[str, bytes]:
    """The TXT record's fields. Labels are `l.<key>`."""
    instance = announcement.instance
    plain = {
        "td": announcement.trust_domain,
        "ns": instance.service.namespace,
        "svc": instance.service.name,
        "id": instance.id,
        "host": instance.host,
        "proto": instance.protocol.value,
        "st": instance.state.value,
        "ver": instance.version,
        "w": str(instance.weight),
        "zone": announcement.zone,
        **{f"l.{key}": value for key, value in sorted(instance.labels.items())},
    }
    return {"v": _VERSION, **{key: value.encode() for key, value in plain.items()}}


def decode(properties: Mapping[bytes, bytes | None], *, address: str, port: int) -> Announcement:
    """What a TXT record and its SRV's address and port say; raises `InvalidAnnouncement`."""
    if properties.get(b"v") != _VERSION:
        raise InvalidAnnouncement(f"version {properties.get(b'v')!r} is not {_VERSION!r}")
    try:
        text = {key.decode(): (value or b"").decode() for key, value in properties.items()}
        weight = int(text["w"])
        if not 0 <= weight <= 1000:
            raise InvalidAnnouncement(f"w: {weight} is not between 0 and 1000")
        host = ipaddress.ip_address(address)
        return Announcement(
            trust_domain=text["td"],
            zone=text.get("zone", ""),
            instance=Instance(
                service=ServiceName(text["ns"], text["svc"]),
                id=check_name(text["id"], what="instance"),
                host=check_name(text["host"], what="host"),
                address=f"[{host}]:{port}" if host.version == 6 else f"{host}:{port}",
                port=0,
                protocol=Protocol(text["proto"]),
                state=State(text["st"]),
                version=text.get("ver", ""),
                labels={key[2:]: value for key, value in text.items() if key.startswith("l.")},
                weight=weight,
            ),
        )
    except KeyError as missing:
        raise InvalidAnnouncement(f"the field {missing} is missing") from missing
    except (InvalidName, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, InvalidAnnouncement):
            raise
        raise InvalidAnnouncement(str(error)) from error


@dataclass(frozen=True, slots=True)
class Heard:
    """Somebody announced an instance, or said something new of it."""

    label: str
    announcement: Announcement


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Somebody said that an instance is leaving, or its records ran out."""

    label: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An instance as heard; `leaving` is when it said goodbye, or None."""

    announcement: Announcement
    leaving: float | None = None


@dataclass(frozen=True, slots=True)
class Neighbours:
    """All that was heard and is to be believed so far: an immutable fold over `Heard` and `Goodbye`."""

    trust_domain: str
    host: str
    by_label: Mapping[str, Neighbour] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)

    def apply(self, change: Heard | Goodbye, *, now: float) -> Neighbours:
        """The neighbours after one change; `now` in seconds of any steady clock."""
        if isinstance(change, Goodbye):
            known = self.by_label.get(change.label)
            if known is None or known.leaving is not None:
                return self
            return replace(self, by_label={**self.by_label, change.label: replace(known, leaving=now)})
        reason = self._refusal(change)
        if reason is not None:
            return replace(self, refused={**self.refused, reason: self.refused.get(reason, 0) + 1})
        return replace(self, by_label={**self.by_label, change.label: Neighbour(change.announcement)})

    def forget(self, *, now: float) -> Neighbours:
        """Without those that said goodbye `FORGET_AFTER` ago or earlier."""
        kept = {
            label: one
            for label, one in self.by_label.items()
            if one.leaving is None or now - one.leaving < FORGET_AFTER
        }
        return self if len(kept) == len(self.by_label) else replace(self, by_label=kept)

    def endpoints(self, service: ServiceName) -> tuple[Endpoint, ...]:
        """The service's endpoints by instance id; those that said goodbye are suspect."""
        found = [one for one in self.by_label.values() if one.announcement.instance.service == service]
        return tuple(
            _endpoint(one)
            for one in sorted(found, key=lambda one: (one.announcement.instance.id, one.announcement.instance.host))
        )

    def services(self) -> Mapping[ServiceName, Protocol]:
        """What services were heard of, and what they speak; the first in order of instance ids decides."""
        found: dict[ServiceName, Protocol] = {}
        for label in sorted(self.by_label):
            instance = self.by_label[label].announcement.instance
            found.setdefault(instance.service, instance.protocol)
        return found

    def _refusal(self, change: Heard) -> str | None:
        if change.announcement.trust_domain != self.trust_domain:
            return "other_trust_domain"
        if change.announcement.instance.host == self.host:
            return "own_host"
        if change.label not in self.by_label and len(self.by_label) >= MAX_NEIGHBOURS:
            return "too_many"
        return None


def _endpoint(neighbour: Neighbour) -> Endpoint:
    instance = neighbour.announcement.instance
    return Endpoint(
        service=instance.service,
        instance=instance.id,
        host=instance.host,
        address=instance.address,
        port=instance.port,
        protocol=instance.protocol,
        state=instance.state,
        presence=Presence.CONFIRMED if neighbour.leaving is None else Presence.SUSPECT,
        source=Source.MDNS,
        weight=instance.weight,
        zone=neighbour.announcement.zone,
        version=instance.version,
        labels=instance.labels,
    )
