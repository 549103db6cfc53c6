"""The fallback where there is no etcd: announce our instances by multicast DNS, and hear those of others.

The shell around zeroconf, which speaks the protocol; what is said and who is believed is `registry.announcements`. One
announcement per instance: a PTR, an SRV, a TXT and an address record; hearing costs one question per new instance and
nothing while nothing changes.

How it fails: `MulticastError` names the interface and what to do; `multicast_problem` tells at start whether packets
come back at all, because a network that swallows them looks exactly like one where nobody else lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import struct
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from zeroconf import (  # type: ignore[attr-defined]  # these two are imported there without __all__
    DNSOutgoing,
    DNSQuestion,
    IPVersion,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf
from zeroconf.const import _CLASS_IN, _FLAGS_QR_QUERY, _TYPE_PTR

from registry.announcements import (
    MAX_NEIGHBOURS,
    Announcement,
    Goodbye,
    Heard,
    InvalidAnnouncement,
    decode,
    encode,
)

SERVICE_TYPE = "_weft._tcp.local."
_GROUP = "224.0.0.251"
_PORT = 5353
_RESOLVE_MS = 3_000
_TTL = 120

logger = logging.getLogger(__name__)


class MulticastError(Exception):
    """Multicast DNS cannot be used on these interfaces."""

    code = "multicast_unavailable"


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
