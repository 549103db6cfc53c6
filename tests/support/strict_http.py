"""A strict reader of HTTP/1.1, written apart from the engine's codec, to judge what leaves an engine on either side.

It accepts only what every server reads the same way (RFC 9112, RFC 9110): anything a lenient and a strict reader could
take for two different things is `Dirty`. It is slow, small and regular on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"([A-Z-]{1,20}) ((?:/[^\x00-\x20\x7f-\xff#\\\"<>^`{|}]*)|\*) HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [\t\x20-\x7e\x80-\xff]*")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[^\x00-\x1f\x7f]|\t)*?)[ \t]*")
_AUTHORITY = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
# Trailer is none of them: it announces fields that go on too (RFC 9110 section 7.6.1).
_HOP_BY_HOP = frozenset({b"proxy-connection", b"keep-alive", b"te", b"proxy-authenticate", b"proxy-authorization"})
_NONE, _CHUNKED = -1, -2
NEVER_IN_TRAILERS = frozenset({b"content-length", b"transfer-encoding", b"host", b"x-weft-caller", b"authorization"})


class Dirty(ValueError):
    """Bytes that two readers could understand differently; `at` is the offset."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(f"at byte {at}: {why}")
        self.at = at


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it left: method, target, fields in order with lower-case names, the body without its framing."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def values(self, name: bytes) -> list[bytes]:
        """All lines of a field."""
        return [value for key, value in self.fields if key == name]


@dataclass(frozen=True, slots=True)
class Response:
    """One response as a client gets it: status, fields in order with lower-case names, the body without its framing."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def value(self, name: bytes) -> bytes | None:
        """The only line of a field; raises `Dirty` where there are more."""
        found = [value for key, value in self.fields if key == name]
        if len(found) > 1:
            raise Dirty(0, f"{name!r} stands there {len(found)} times")
        return found[0] if found else None

    @property
    def reason(self) -> str:
        """The word of `x-weft-reason`, or nothing where an application answered."""
        return (self.value(b"x-weft-reason") or b"").decode()


def read(data: bytes, *, truncated: bool = False) -> list[Request]:
    """Every request in `data`, from its first byte to its last; raises `Dirty`.

    With `truncated`, the last one may be cut short (its sender was cut off) and is then left out.
    """
    found: list[Request] = []
    at = 0
    while at < len(data):
        first = read_first(data, at)
        if first is None:
            if truncated:
                return found
            raise Dirty(len(data), "the last request is cut short")
        found.append(first[0])
        at = first[1]
    return found


def read_first(data: bytes, at: int = 0) -> tuple[Request, int] | None:
    """The request at `at` and where it ends; None while it is not whole; raises `Dirty` as soon as that is certain."""
    try:
        return _request(data, at)
    except EOFError:
        return None


def read_responses(data: bytes, methods: Sequence[bytes] = (), *, truncated: bool = False) -> list[Response]:
    """Every final response in `data`; raises `Dirty`.

    `methods` are those of the requests in their order; what is beyond them counts as GET. With `truncated`, the last one
    may be cut short and is then left out.
    """
    found: list[Response] = []
    at = 0
    while at < len(data):
        method = methods[len(found)] if len(found) < len(methods) else b"GET"
        try:
            response, at = _response(data, at, method)
        except EOFError as error:
            if truncated:
                return found
            raise Dirty(len(data), "the last response is cut short") from error
        if response.status >= 200:
            found.append(response)
    return found


def _line(data: bytes, at: int) -> tuple[bytes, int]:
    end = data.find(b"\n", at)
    if end < 0:
        if b"\r" in data[at:-1]:
            raise Dirty(at, "bare CR")
        raise EOFError
    line = data[at:end]
    if not line.endswith(b"\r"):
        raise Dirty(end, "LF without CR")
    if b"\r" in line[:-1]:
        raise Dirty(at, "bare CR")
    return line[:-1], end + 1


def _fields(data: bytes, at: int) -> tuple[tuple[tuple[bytes, bytes], ...], int]:
    found: list[tuple[bytes, bytes]] = []
    while True:
        start = at
        line, at = _line(data, at)
        if not line:
            return tuple(found), at
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Dirty(start, f"not a field: {line!r}")
        if b"_" in match[1]:
            raise Dirty(start, f"a name that some servers read with a hyphen: {match[1]!r}")
        found.append((match[1].lower(), match[2]))
        if len(found) > 200:
            raise Dirty(start, "more than 200 fields")


def _request(data: bytes, at: int) -> tuple[Request, int]:
    start = at
    line, at = _line(data, at)
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise Dirty(start, f"not a request line: {line!r}")
    method, target = match[1], match[2]
    if method in (b"CONNECT", b"TRACE"):
        raise Dirty(start, f"{method!r} is never forwarded")
    if target == b"*" and method != b"OPTIONS":
        raise Dirty(start, "'*' is for OPTIONS only")
    fields, at = _fields(data, at)

    def values(name: bytes) -> list[bytes]:
        return [value for key, value in fields if key == name]

    hosts = values(b"host")
    if len(hosts) != 1 or _AUTHORITY.fullmatch(hosts[0]) is None:
        raise Dirty(start, f"Host must be there once and be an authority: {hosts!r}")
    hop = [name for name, value in fields if name in _HOP_BY_HOP and (name, value) != (b"te", b"trailers")]
    if hop:
        raise Dirty(start, f"hop-by-hop fields are not forwarded: {hop!r}")
    length = _length(fields, start)
    body, at = _body(data, at, 0 if length == _NONE else length)
    return Request(method, target, fields, body), at


def _response(data: bytes, at: int, method: bytes) -> tuple[Response, int]:
    start = at
    line, at = _line(data, at)
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise Dirty(start, f"not a status line: {line!r}")
    status = int(match[1])
    fields, at = _fields(data, at)
    hop = [name for name, _ in fields if name in _HOP_BY_HOP - {b"proxy-authenticate"}]
    if hop:
        raise Dirty(start, f"hop-by-hop fields are not forwarded: {hop!r}")
    length = _length(fields, start)
    if status < 200 or status == 204:
        if length != _NONE:
            raise Dirty(start, f"{status} with framing")
        return Response(status, fields, b""), at
    if method == b"HEAD" or status == 304:
        return Response(status, fields, b""), at
    if length == _NONE:
        if (b"connection", b"close") not in fields:
            raise Dirty(start, "a body until the end, and nothing says that the end comes")
        return Response(status, fields, data[at:]), len(data)
    body, at = _body(data, at, length)
    return Response(status, fields, body), at


def _length(fields: tuple[tuple[bytes, bytes], ...], start: int) -> int:
    """How long the body is, or `_CHUNKED`, or `_NONE` where nothing says so."""
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if lengths and codings:
        raise Dirty(start, "Content-Length together with Transfer-Encoding")
    if len(lengths) > 1 or (lengths and re.fullmatch(rb"(0|[1-9][0-9]{0,17})", lengths[0]) is None):
        raise Dirty(start, f"Content-Length: {lengths!r}")
    if len(codings) > 1 or (codings and codings[0].lower() != b"chunked"):
        raise Dirty(start, f"Transfer-Encoding: {codings!r}")
    if codings:
        return _CHUNKED
    return int(lengths[0]) if lengths else _NONE


def _body(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    if length == _CHUNKED:
        return _chunked(data, at)
    if len(data) - at < length:
        raise EOFError
    return data[at : at + length], at + length


def _chunked(data: bytes, at: int) -> tuple[bytes, int]:
    parts: list[bytes] = []
    while True:
        start = at
        line, at = _line(data, at)
        if _CHUNK_SIZE.fullmatch(line) is None:
            raise Dirty(start, f"chunk size: {line!r} (an engine frames anew, so it needs no extension)")
        size = int(line, 16)
        if size == 0:
            trailers, at = _fields(data, at)
            forbidden = [name for name, _ in trailers if name in NEVER_IN_TRAILERS]
            if forbidden:
                raise Dirty(start, f"never in trailers: {forbidden!r}")
            return b"".join(parts), at
        if len(data) - at < size + 2:
            raise EOFError
        if data[at + size : at + size + 2] != b"\r\n":
            raise Dirty(at + size, "CRLF is missing after a chunk")
        parts.append(data[at : at + size])
        at += size + 2
