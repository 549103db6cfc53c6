"""Headers of the PROXY protocol, good and spoiled: what a port that takes them may be sent."""

from __future__ import annotations

import socket

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LINE = b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\r\n"
V4 = bytes((203, 0, 113, 9, 198, 51, 100, 1, 0xDC, 0x04, 0x01, 0xBB))
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::9") + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + V4[8:]


def v2(command: int, family: int, rest: bytes) -> bytes:
    """A header of version 2."""
    return SIGNATURE + bytes((command, family)) + len(rest).to_bytes(2) + rest


GOOD: tuple[tuple[bytes, str], ...] = (
    (LINE, "203.0.113.9"),
    (b"PROXY TCP6 2001:db8::9 2001:db8::1 56324 443\r\n", "2001:db8::9"),
    (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 56324 443\r\n", "203.0.113.9"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
    (v2(0x21, 0x11, V4), "203.0.113.9"),
    (v2(0x21, 0x21, V6), "2001:db8::9"),
    (v2(0x21, 0x11, V4 + b"\x04\0\x03xyz\xea\x01\x2c" + bytes(300)), "203.0.113.9"),
    (v2(0x21, 0x11, V4 + b"\xea\x0e\x10" + bytes(3600)), "203.0.113.9"),
    (v2(0x20, 0x00, b""), "127.0.0.1"),
    (v2(0x20, 0x11, V4), "127.0.0.1"),
    (v2(0x21, 0x00, b""), "127.0.0.1"),
    (v2(0x21, 0x31, bytes(216)), "127.0.0.1"),
)
"""A header, and the address that a request behind it comes from; by loopback, where the header says nothing."""

BAD: tuple[tuple[bytes, str], ...] = (
    (b"PROXX TCP4 ", "missing"),
    (b"proxy tcp4 1.2.3.4 1.2.3.4 1 2\r\n", "missing"),
    (b"\r\n\r\n\0\r\nQUIT\r", "missing"),
    (b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443\n", "malformed"),
    (b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 65536\r\n", "malformed"),
    (b"PROXY TCP4 203.0.113.09 198.51.100.1 56324 443\r\n", "malformed"),
    (b"PROXY TCP4 2001:db8::9 2001:db8::1 56324 443\r\n", "malformed"),
    (b"PROXY TCP4 203.0.113.9, 198.51.100.1 56324 443\r\n", "malformed"),
    (b"PROXY TCP4 203.0.113.9 198.51.100.1 56324 443 \r\n", "malformed"),
    (b"PROXY TCP4\r\n", "malformed"),
    (b"PROXY UDP4 203.0.113.9 198.51.100.1 56324 443\r\n", "malformed"),
    (b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n", "too_large"),
    (v2(0x31, 0x11, V4), "malformed"),
    (v2(0x22, 0x11, V4), "malformed"),
    (v2(0x21, 0x13, V4), "malformed"),
    (v2(0x21, 0x41, V4), "malformed"),
    (v2(0x21, 0x11, V4[:-1]), "malformed"),
    (v2(0x21, 0x21, V6[:-1]), "malformed"),
    (v2(0x21, 0x11, V4 + b"\x04\0"), "malformed"),
    (v2(0x21, 0x11, V4 + b"\x04\xff\xff"), "malformed"),
    (v2(0x21, 0x11, V4 + b"\x03\0\4\1\2\3\4"), "checksum"),
    (v2(0x21, 0x11, V4 + bytes(4100)), "too_large"),
    (SIGNATURE + b"\x20\0\xff\xff", "too_large"),
)
"""What is none, and the reason it is counted with."""
