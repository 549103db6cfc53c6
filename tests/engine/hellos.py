"""TLS hellos, real and spoiled: what a port that passes TLS on may be sent."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

NAME = "db.example.com"
MOST = 16 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes that are no good hello, and the reason they are counted with. `alert` is what is answered; None: nothing."""

    name: str
    data: bytes
    reason: Literal["tls_required", "bad_request", "too_large"]
    alert: int | None


def hello(name: str | None = NAME) -> bytes:
    """The whole first flight of a real client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a client that needs no server")


def record(payload: bytes, *, kind: int = 22) -> bytes:
    """One record."""
    return bytes((kind, 3, 1)) + len(payload).to_bytes(2) + payload


def records(message: bytes, size: int) -> bytes:
    """A message in records of so many bytes."""
    return b"".join(record(message[at : at + size]) for at in range(0, len(message), size))


def message(body: bytes, *, kind: int = 1) -> bytes:
    """A handshake message."""
    return bytes((kind,)) + len(body).to_bytes(3) + body


def extension(kind: int, value: bytes) -> bytes:
    """One extension."""
    return kind.to_bytes(2) + len(value).to_bytes(2) + value


def server_name(*names: bytes, kind: int = 0) -> bytes:
    """The extension that asks for these."""
    listed = b"".join(bytes((kind,)) + len(name).to_bytes(2) + name for name in names)
    return extension(0, len(listed).to_bytes(2) + listed)


def body(
    *extensions: bytes,
    version: bytes = b"\x03\x03",
    session: bytes = bytes(32),
    suites: bytes = b"\x13\x01\x13\x02",
    compressions: bytes = b"\0",
    surplus: bytes = b"",
) -> bytes:
    """A hello by hand."""
    together = b"".join(extensions)
    return b"".join(
        (
            version + bytes(32),
            bytes((len(session),)) + session,
            len(suites).to_bytes(2) + suites,
            bytes((len(compressions),)) + compressions,
            len(together).to_bytes(2) + together,
            surplus,
        )
    )


def _sent(what: bytes) -> bytes:
    return record(message(what))


def spoiled(good: bytes | None = None) -> Iterator[Case]:
    """Everything that must lead nowhere, some of it around a good hello: a real one, if none is given."""
    good = good or hello()
    named = server_name(NAME.encode())
    for name, data in {
        "http": b"GET / HTTP/1.1\r\nhost: db.example.com\r\n\r\n",
        "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
        "smtp": b"EHLO db.example.com\r\n",
        "postgres": b"\0\0\0\x08\x04\xd2\x16\x2f",
        "mysql": b"\x4a\0\0\0\x0a8.0.36\0",
        "ssl 2": b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10" + bytes(37),
        "proxy v1": b"PROXY TCP4 203.0.113.9 10.0.0.1 51234 443\r\n" + good,
        "proxy v2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + good,
        "zeros": bytes(64),
        "an alert": record(b"\x02\x28", kind=21),
        "early data first": record(b"data", kind=23) + good,
        "a change of cipher first": record(b"\1", kind=20) + good,
        "a newline first": b"\n" + good,
        "version 2 of records": b"\x16\x02\x00" + good[3:],
        "version 4 of records": b"\x16\x04\x00" + good[3:],
    }.items():
        yield Case(name, data, "tls_required", None)
    whole = message(body(named))
    for name, data in {
        "an empty record": record(b"") + good,
        "a record too long": b"\x16\x03\x01\x40\x01" + bytes(100),
        "a record of 64 KiB": b"\x16\x03\x01\xff\xff" + bytes(100),
        "an empty record within": record(whole[:20]) + record(b"") + record(whole[20:]),
        "an alert within": record(whole[:20]) + record(b"\x02\x28", kind=21) + record(whole[20:]),
        "data within": record(whole[:20]) + record(whole[20:], kind=23),
        "another version within": record(whole[:20]) + b"\x16\x05" + record(whole[20:])[2:],
        "a byte behind it": record(whole + b"\0"),
        "another hello behind it": record(whole + whole),
        "a server's hello": record(message(body(named), kind=2)),
        "a request for a hello": record(message(b"", kind=0)),
        "a certificate": record(message(bytes(100), kind=11)),
    }.items():
        yield Case(name, data, "bad_request", 10)
    for name, what in {
        "nothing in it": b"",
        "a version and nothing else": b"\x03\x03",
        "no random": b"\x03\x03" + bytes(31),
        "version 2": body(named, version=b"\x02\x03"),
        "version 4": body(named, version=b"\x04\x00"),
        "a session of 33 bytes": body(named, session=bytes(33)),
        "a session of 255 bytes": body(named, session=bytes(255)),
        "no suites": body(named, suites=b""),
        "half a suite": body(named, suites=b"\x13"),
        "a suite and a half": body(named, suites=b"\x13\x01\x13"),
        "no compression": body(named, compressions=b""),
        "a byte behind the extensions": body(named, surplus=b"\0"),
        "extensions cut off": body(named, extension(16, b"\0\x03\x02h2"))[:-3],
        "an extension that ends within its head": body(named, b"\0\x10\0"),
        "an extension longer than all": body(named, b"\0\x10\xff\xff\0"),
        "an empty list of names": body(extension(0, b"\0\0")),
        "no list of names": body(extension(0, b"")),
        "names longer than their list": body(extension(0, b"\0\x04\0\0\x09db")),
        "a list longer than its extension": body(extension(0, b"\0\xff\0\0\1a")),
        "a byte behind the list": body(extension(0, b"\0\4\0\0\1a\0")),
    }.items():
        yield Case(name, _sent(what), "bad_request", 50)
    for name, what in {
        "two extensions of names": body(named, named),
        "another name later": body(named, server_name(b"other.example.com")),
        "two names": body(server_name(NAME.encode(), b"other.example.com")),
        "a name of another type": body(server_name(NAME.encode(), kind=1)),
        "any extension twice": body(extension(43, b"\2\3\4"), named, extension(43, b"\2\3\4")),
        "grease twice": body(extension(0x0A0A, b""), named, extension(0x0A0A, b"")),
        "a shared key before the end": body(extension(41, bytes(40)), named),
        "an empty name": body(server_name(b"")),
        "a dot at the end": body(server_name(b"db.example.com.")),
        "a dot at the start": body(server_name(b".example.com")),
        "two dots": body(server_name(b"db..example.com")),
        "a zero in the name": body(server_name(b"db.example.com\0.evil.test")),
        "a space in the name": body(server_name(b"db example.com")),
        "a slash in the name": body(server_name(b"db.example.com/x")),
        "a port in the name": body(server_name(b"db.example.com:443")),
        "a wildcard": body(server_name(b"*.example.com")),
        "no ascii": body(server_name("dä.example.com".encode())),
        "no text": body(server_name(b"\xff\xfe.example.com")),
        "a label of 64 bytes": body(server_name(b"a" * 64 + b".example.com")),
        "a name of 254 bytes": body(server_name(b".".join([b"a" * 62] * 4) + b".bc")),
    }.items():
        yield Case(name, _sent(what), "bad_request", 47)
    for name, data in {
        "a message of 16 MiB": record(b"\x01\xff\xff\xff" + bytes(100)),
        "a message of 16 KiB": record(b"\x01\0\x40\0" + bytes(100)),
        "a record of 16 KiB": b"\x16\x03\x01\x40\0" + whole[:100],
        "padding of 17 KiB": records(message(body(named, extension(21, bytes(17_000)))), 4000),
        "one byte to a record": records(message(body(named, extension(21, bytes(3_000)))), 1),
    }.items():
        yield Case(name, data, "too_large", 22)
