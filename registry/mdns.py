"""The fallback where there is no etcd: announce our instances by multicast DNS, and hear those of others.

mDNS only adds, and everything heard is a hint: an endpoint learned here gets a request only if its certificate proves
the service's identity, so whoever shouts loudest gains nothing. A goodbye makes an instance suspect, no more; it is
forgotten after `FORGET_AFTER` or when its callers' probes fail. Announcements of other trust domains, of our own host,
malformed ones and all beyond `MAX_NEIGHBOURS` are left out and counted by reason.

The pure part is `Announcement` with its codec and `Neighbours`, a fold; `Multicast` is the shell around zeroconf, which
speaks the protocol. One announcement per instance: a PTR, an SRV, a TXT and an address record; hearing costs one
question per new instance and nothing while nothing changes.

How it fails: `MulticastError` names the interface and what to do; `multicast_problem` tells at start whether packets
come back at all, because a network that swallows them looks exactly like one where nobody else lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import logging
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from zeroconf import (  # type: ignore[attr-defined]  # these two are imported there without __all__
    DNSOutgoing,
    DNSQuestion,
    IPVersion,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf
from zeroconf.const import _CLASS_IN, _FLAGS_QR_QUERY, _TYPE_PTR

from registry.model import Endpoint, Instance, Presence, Protocol, Source, State
from registry.names import InvalidName, ServiceName, check_name

SERVICE_TYPE = "_weft._tcp.local."
MAX_NEIGHBOURS = 5_000
FORGET_AFTER = 600.0
_GROUP = "224.0.0.251"
_PORT = 5353
_VERSION = b"1"
_RESOLVE_MS = 3_000
_TTL = 120

logger = logging.getLogger(__name__)


class InvalidAnnouncement(ValueError):
    """An announcement that cannot be believed to mean anything; the message says which field and why."""

    code = "invalid_announcement"


class MulticastError(Exception):
    """Multicast DNS cannot be used on these interfaces."""

    code = "multicast_unavailable"


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


class Multicast:
    """Announces a set of instances and tells what is heard. Made by `open_multicast`."""

    def __init__(self, zeroconf: AsyncZeroconf) -> None:
        self._zeroconf = zeroconf
        self._announced: dict[str, tuple[Announcement, AsyncServiceInfo]] = {}
        self._changes: asyncio.Queue[Heard | Goodbye] = asyncio.Queue(maxsize=2 * MAX_NEIGHBOURS)
        self._asking: set[asyncio.Task[None]] = set()
        self.malformed = 0

    async def announce(self, announcements: Iterable[Announcement]) -> None:
        """Make these, the whole set, what this host announces: new ones, changed ones and goodbyes follow from it."""
        wanted = {one.label: one for one in announcements}
        for label in [label for label in self._announced if label not in wanted]:
            _, info = self._announced.pop(label)
            await (await self._zeroconf.async_unregister_service(info))
        for label, one in wanted.items():
            before = self._announced.get(label)
            if before is not None and before[0] == one:
                continue
            info = _info(label, one)
            if before is None:
                # No probing for the name: a stranger who answers probes could keep an instance from being announced.
                await (await self._zeroconf.async_register_service(info, cooperating_responders=True))
            else:
                await (await self._zeroconf.async_update_service(info))
            self._announced[label] = (one, info)

    async def changes(self) -> AsyncIterator[Heard | Goodbye]:
        """What is heard from now on, and at first everything that answers the first question."""

        def on_change(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
            if state_change is ServiceStateChange.Removed:
                self._tell(Goodbye(_label(name)))
            elif len(self._asking) < MAX_NEIGHBOURS:
                task = asyncio.get_running_loop().create_task(self._resolve(zeroconf, name))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)

        browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE_TYPE, handlers=[on_change])
        try:
            while True:
                yield await self._changes.get()
        finally:
            await browser.async_cancel()

    async def close(self) -> None:
        """Say goodbye for what was announced, and stop listening."""
        for task in list(self._asking):
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        await self._zeroconf.async_close()

    def __repr__(self) -> str:
        return f"Multicast(announced={sorted(self._announced)}, malformed={self.malformed})"

    async def _resolve(self, zeroconf: Zeroconf, name: str) -> None:
        info = AsyncServiceInfo(SERVICE_TYPE, name)
        if not await info.async_request(zeroconf, _RESOLVE_MS):
            return
        addresses = info.parsed_scoped_addresses()
        try:
            if not addresses or info.port is None:
                raise InvalidAnnouncement("it has no address or no port")
            announcement = decode(info.properties, address=addresses[0], port=info.port)
        except InvalidAnnouncement as error:
            self.malformed += 1
            logger.warning("announcement refused", extra={"announcement": name, "error.message": str(error)})
            return
        self._tell(Heard(_label(name), announcement))

    def _tell(self, change: Heard | Goodbye) -> None:
        # A full queue means that nobody reads: dropping is right, since every record is announced again.
        with contextlib.suppress(asyncio.QueueFull):
            self._changes.put_nowait(change)


@asynccontextmanager
async def open_multicast(interfaces: Sequence[str]) -> AsyncIterator[Multicast]:
    """Multicast DNS on these interfaces (addresses of them), until the scope ends; raises `MulticastError`."""
    try:
        zeroconf = AsyncZeroconf(interfaces=list(interfaces), ip_version=_ip_version(interfaces))
    except OSError as error:
        raise MulticastError(
            f"multicast DNS cannot start on {', '.join(interfaces)}: {error}. "
            "Name addresses of this host in mdns.interfaces, or switch it off with mdns.enabled = false"
        ) from error
    multicast = Multicast(zeroconf)
    try:
        yield multicast
    finally:
        await multicast.close()


async def multicast_problem(interface: str, *, wait: float = 1.0) -> str | None:
    """Why multicast does not work on the IPv4 interface with this address, or None if a question of ours came back.

    It shows what the kernel and its filters do; whether a switch beyond passes multicast on, only a neighbour can tell.
    """
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[None] = loop.create_future()
    question = _question()

    class Listener(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            if data == question and not heard.done():
                heard.set_result(None)

    try:
        transport, _ = await loop.create_datagram_endpoint(Listener, sock=_group_socket(interface))
    except OSError as error:
        return f"cannot join {_GROUP} on {interface}: {error}"
    try:
        transport.sendto(question, (_GROUP, _PORT))
        async with asyncio.timeout(wait):
            await heard
    except TimeoutError:
        return f"a multicast packet sent on {interface} did not come back within {wait:g} s: a filter or the interface drops it"
    except OSError as error:
        return f"cannot send to {_GROUP} on {interface}: {error}"
    finally:
        transport.close()
    return None


def _question() -> bytes:
    outgoing = DNSOutgoing(_FLAGS_QR_QUERY, multicast=True)
    outgoing.add_question(DNSQuestion(SERVICE_TYPE, _TYPE_PTR, _CLASS_IN))
    return outgoing.packets()[0]


def _group_socket(interface: str) -> socket.socket:
    group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        group.setblocking(False)
        group.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        group.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        group.bind(("", _PORT))
        own = socket.inet_aton(interface)
        group.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        group.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        group.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4s", socket.inet_aton(_GROUP), own)
        )
    except OSError:
        group.close()
        raise
    return group


def _info(label: str, announcement: Announcement) -> AsyncServiceInfo:
    host, _, port = announcement.instance.address.rpartition(":")
    address = ipaddress.ip_address(host.strip("[]"))
    return AsyncServiceInfo(
        SERVICE_TYPE,
        f"{label}.{SERVICE_TYPE}",
        addresses=[address.packed],
        port=int(port),
        properties=dict(encode(announcement)),
        server=f"{label}.local.",
        host_ttl=_TTL,
        other_ttl=_TTL,
    )


def _label(name: str) -> str:
    return name.removesuffix(f".{SERVICE_TYPE}")


def _ip_version(interfaces: Sequence[str]) -> IPVersion:
    versions = {ipaddress.ip_address(one).version for one in interfaces}
    return {frozenset({4}): IPVersion.V4Only, frozenset({6}): IPVersion.V6Only}.get(frozenset(versions), IPVersion.All)
