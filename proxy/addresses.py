"""Which addresses this host has, so that one of them can be advertised where there is only one."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path

_SIOCGIFADDR = 0x8915
_INET6 = Path("/proc/net/if_inet6")
_GLOBAL_SCOPE = "00"


class InvalidAdvertise(ValueError):
    """No address can be advertised without guessing. The message lists the candidates."""

    code = "invalid_advertise"


def choose(configured: str, candidates: list[str]) -> str:
    """The configured address, or the only candidate; raises `InvalidAdvertise` rather than guess."""
    if configured:
        try:
            return str(ipaddress.ip_address(configured))
        except ValueError as error:
            raise InvalidAdvertise(f"advertise = {configured!r} is not an IP address: write one") from error
    if len(candidates) == 1:
        return candidates[0]
    found = ", ".join(candidates) or "none but loopback"
    raise InvalidAdvertise(f"this host has several addresses or none ({found}): set advertise to the one others reach")


def candidates() -> list[str]:
    """The addresses of this host's interfaces that others might reach: no loopback, no link-local."""
    found = [*_ipv4(), *_ipv6()]
    return [text for text in found if not (ipaddress.ip_address(text).is_loopback or _is_link_local(text))]


def _is_link_local(text: str) -> bool:
    return ipaddress.ip_address(text).is_link_local


def _ipv4() -> list[str]:
    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:
                continue  # an interface without an IPv4 address
            found.append(socket.inet_ntoa(answer[20:24]))
    return found


def _ipv6() -> list[str]:
    try:
        lines = _INET6.read_text().splitlines()
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [str(ipaddress.IPv6Address(int(row[0], 16))) for row in rows if row[3] == _GLOBAL_SCOPE]
