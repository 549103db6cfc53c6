"""Requests that readers disagree about, and what must happen to each: refused with a status, or framed anew.

Grouped and numbered as in the list of what the codec refuses. A refused request ends its connection: a request behind it is
not served. One that is framed anew arrives as its strict reading says, and the request behind it is served.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

HOST = b"Host: api.test\r\n"
GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
AFTER = b"GET /after HTTP/1.1\r\n" + HOST + b"\r\n"


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes, and the status they are refused with; None: framed anew and answered."""

    name: str
    data: bytes
    status: int | None = 400
    body: bytes = b""
    """What arrives as its body, where it is framed anew."""


def _head(*fields: bytes) -> bytes:
    return GET + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def _lines() -> Iterator[Case]:
    """1: where lines end, and how much a head may be."""
    yield Case("lf after the request line", b"GET / HTTP/1.1\n" + HOST + b"\r\n")
    yield Case("lf after a field", GET + b"Host: api.test\n\r\n")
    yield Case("lf as the empty line", GET + HOST + b"\n")
    yield Case("lf everywhere", b"GET / HTTP/1.1\nHost: api.test\n\n")
    yield Case("cr in the request line", b"GET /\r HTTP/1.1\r\n" + HOST + b"\r\n")
    yield Case("cr cr lf", b"GET / HTTP/1.1\r\r\n" + HOST + b"\r\n")
    yield Case("cr in a value", _head(b"X-A: a\rb"))
    yield Case("cr before a field", _head(b"\rX-A: a"))
    yield Case("cr as a line end", GET + b"Host: api.test\rX-A: a\r\n\r\n")
    yield Case("empty line first", b"\r\n" + _head())
    yield Case("lf first", b"\n" + _head())
    yield Case("two empty lines first", b"\r\n\r\n" + _head())
    yield Case("space first", b" " + _head())
    yield Case("a value of 25 KiB", _head(b"X-A: " + b"a" * 25_000), 431)
    yield Case("a name of 25 KiB", _head(b"X" * 25_000 + b": a"), 431)
    yield Case("a head of 25 KiB", _head(*[b"X-%d: " % n + b"a" * 400 for n in range(62)]), 431)
    yield Case("129 fields", _head(*[b"X-%d: a" % n for n in range(128)]), 431)
    yield Case("24 bytes without a space", b"A" * 24)
    yield Case("a tls hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 20)
    yield Case("the preface of http/2.1", b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n")


def _fields() -> Iterator[Case]:
    """2: names and values."""
    yield Case("folded with a space", _head(b"X-A: a", b" b"))
    yield Case("folded with a tab", _head(b"X-A: a", b"\tb"))
    yield Case("folded framing", POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n")
    yield Case("folded first field", GET + b" X-A: a\r\n" + HOST + b"\r\n")
    yield Case("space before the colon", _head(b"X-A : a"))
    yield Case("tab before the colon", _head(b"X-A\t: a"))
    yield Case("space before the colon of a length", POST + b"Content-Length : 2\r\n\r\nab")
    yield Case("space before the colon of a coding", POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n")
    yield Case("no colon", _head(b"X-A"))
    yield Case("no name", _head(b": a"))
    for name in (
        b"X A",
        b"X(A",
        b"X/A",
        b"X@A",
        b'X"A',
        b"X[A]",
        b"X{A",
        b"X\x00A",
        b"X\x7fA",
        b"X\xc3\xa4",
        b"X,A",
        b"X;A",
    ):
        yield Case(f"name {name!r}", _head(name + b": a"))
    for value in (b"\x00", b"\x01", b"\x0b", b"\x0c", b"\x1b", b"\x7f"):
        yield Case(f"value with {value!r}", _head(b"X-A: a" + value + b"b"))
    yield Case("tab in a value", _head(b"X-A: a\tb"), None)
    yield Case("bytes over 127 in a value", _head(b"X-A: \xc3\xa4"), None)
    yield Case("empty value", _head(b"X-A:"), None)
    yield Case("spaces around a value", _head(b"X-A: \t a \t "), None)


def _request_lines() -> Iterator[Case]:
    """3 and 4: methods, and exactly three words."""
    for method in (b"get", b"Get", b"GE T", b"G3T", b"GET\x00", b"G_T", b"", b"A" * 21):
        yield Case(f"method {method!r}", method + b" / HTTP/1.1\r\n" + HOST + b"\r\n")
    for method in (b"CONNECT", b"TRACE"):
        yield Case(f"method {method!r}", method + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 405)
    yield Case("connect with an authority", b"CONNECT api.test:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405)
    yield Case("trace with a body", b"TRACE / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\nab", 405)
    for method in (b"PATCH", b"M-SEARCH", b"VERSION-CONTROL", b"DELETE", b"OPTIONS"):
        yield Case(f"method {method!r}", method + b" / HTTP/1.1\r\n" + HOST + b"\r\n", None)
    for line in (
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET /  HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /",
        b"GET / HTTP/2.0",
        b"GET / HTTP/1.2",
        b"GET / HTTP/0.9",
        b"GET / HTTP/1.10",
        b"GET / HTTP/01.1",
        b"GET / http/1.1",
        b"GET / HTTP /1.1",
        b"GET / HTTPS/1.1",
        b"GET / HTTP/1.1x",
        b"GET HTTP/1.1",
    ):
        yield Case(f"line {line!r}", line + b"\r\n" + HOST + b"\r\n")


def _targets() -> Iterator[Case]:
    """5: what may be asked for."""
    yield Case("a target of 8,001 bytes", b"GET /" + b"a" * 8_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414)
    yield Case("a target of 8,000 bytes", b"GET /" + b"a" * 7_999 + b" HTTP/1.1\r\n" + HOST + b"\r\n", None)
    for target in (
        b"/#a", b"/a\\b", b'/"', b"/<", b"/>", b"/^", b"/`", b"/{", b"/|", b"/\x00", b"/\x7f", b"/\xc3\xa4",
        b"*", b"a", b"?a", b"/%", b"/%2", b"/%zz", b"https://api.test/", b"ftp://api.test/", b"http://", b"http:///",
        b"http://a b/", b"http://u@api.test/", b"http://api.test:port/", b"http://api.test:123456/", b"api.test:80",
    ):  # fmt: skip
        yield Case(f"target {target!r}", b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    yield Case("star for options", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", None)
    yield Case("absolute form", b"GET http://api.test/x?y HTTP/1.1\r\n" + HOST + b"\r\n", None)
    yield Case("absolute form and another host", b"GET http://api.test/x HTTP/1.1\r\nHost: other.test\r\n\r\n", None)
    yield Case("absolute form without a path", b"GET http://api.test HTTP/1.1\r\n" + HOST + b"\r\n", None)
    yield Case("query with everything", b"GET /?a=b&c/d?e:@!$'()*+,;=%20 HTTP/1.1\r\n" + HOST + b"\r\n", None)


def _hosts() -> Iterator[Case]:
    """6: Host."""
    yield Case("no host", GET + b"\r\n")
    yield Case("two hosts", GET + HOST + b"Host: other.test\r\n\r\n")
    yield Case("two equal hosts", GET + HOST + HOST + b"\r\n")
    yield Case("two hosts, other case", GET + HOST + b"hOST: api.test\r\n\r\n")
    for value in (b"", b" ", b"u@api.test", b"api.test/", b"api.test,b", b"api.test:", b"api.test:a", b"api.test:123456",
                  b"api test", b"api.test:80:80", b"[::1", b"api.test?a", b"api.test#a", b"\\api"):  # fmt: skip
        yield Case(f"host {value!r}", GET + b"Host: " + value + b"\r\n\r\n")
    yield Case("host with a port", GET + b"Host: api.test:8080\r\n\r\n", None)
    yield Case("host as ipv6", GET + b"Host: [::1]:80\r\n\r\n", None)


def _lengths() -> Iterator[Case]:
    """7: one length or one coding."""
    for value in (b"2, 2", b"+2", b"-2", b"0x2", b"2 2", b"", b"2a", b"1" * 19, b"2.0", b"'2'", b"2,", b"\xb2"):
        yield Case(f"length {value!r}", POST + b"Content-Length: " + value + b"\r\n\r\nab")
    yield Case("two lengths", POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc")
    yield Case("two equal lengths", POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab")
    both = b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"
    yield Case("length and coding", POST + both + b"\r\n0\r\n\r\n")
    yield Case("coding and length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n")
    for value, status in (
        (b"gzip", 501), (b"identity", 501), (b"chunked, gzip", 501), (b"gzip, chunked", 501), (b"xchunked", 501),
        (b"chunked;a=b", 501), (b"chunked, chunked", 501), (b"", 501), (b'"chunked"', 501), (b"chunked,", 501),
    ):  # fmt: skip
        case = POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n"
        yield Case(f"coding {value!r}", case, status)
    twice = b"Transfer-Encoding: chunked\r\n" * 2
    yield Case("coding twice", POST + twice + b"\r\n0\r\n\r\n")
    mixed = b"Transfer-Encoding: chunked\r\nTransfer-encoding: identity\r\n"
    yield Case("coding twice, the second other", POST + mixed + b"\r\n0\r\n\r\n")
    yield Case("coding on 1.0", b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    yield Case("coding in capitals", POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n2\r\nab\r\n0\r\n\r\n", None, b"ab")
    yield Case("length with zeros", POST + b"Content-Length: 002\r\n\r\nab", None, b"ab")
    yield Case("length of a get", _head(b"Content-Length: 2") + b"ab", None, b"ab")


def _expectations() -> Iterator[Case]:
    """8: Expect."""
    for value in (b"200-ok", b"100-continue, x", b"", b"100"):
        yield Case(f"expect {value!r}", POST + b"Expect: " + value + b"\r\nContent-Length: 2\r\n\r\nab", 417)
    expects = b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\nab"
    yield Case("expect 100-continue, and the body at once", POST + expects, None, b"ab")


def _connection_fields() -> Iterator[Case]:
    """9: what Connection may name, and fields that go no further."""
    for name in (b"Host", b"Content-Length", b"Transfer-Encoding", b"x-weft-caller", b"X-Weft-Caller", b"close, host"):
        yield Case(f"connection names {name!r}", _head(b"Connection: " + name))
        yield Case(
            f"connection names {name!r} before it stands", GET + b"Connection: " + name + b"\r\n" + HOST + b"\r\n"
        )
    yield Case("connection is no list of tokens", _head(b"Connection: a b"))
    yield Case("connection names a field", _head(b"X-A: a", b"Connection: x-a"), None)
    yield Case("connection names a field that follows", _head(b"Connection: x-a", b"X-A: a"), None)
    yield Case(
        "hop-by-hop fields", _head(b"Keep-Alive: 5", b"Proxy-Connection: close", b"TE: gzip", b"Upgrade: h2c"), None
    )
    yield Case("a name with an underscore", _head(b"Content_Length: 5", b"X_Weft_Caller: me"), None)
    yield Case("a coding with an underscore", _head(b"Transfer_Encoding: chunked"), None)
    yield Case("who calls, claimed", _head(b"X-Weft-Caller: spiffe://test.weft/ns/default/dc/local/svc/root"), None)
    yield Case("why, claimed", _head(b"X-Weft-Reason: denied", b"X-Weft-Timeout-Ms: 5000"), None)


def _chunks() -> Iterator[Case]:
    """10: chunks and trailers."""
    for size in (
        b"",
        b"0x2",
        b"+2",
        b"-2",
        b" 2",
        b"2 ",
        b"g",
        b"0" * 15 + b"2",
        b"2,",
        b"\t2",
        b"2\x00",
        b"ffffffffffffffff",
    ):
        yield Case(f"chunk size {size!r}", CHUNKED + size + b"\r\nab\r\n0\r\n\r\n")
    for extension in (b"", b"\x00", b"\x1f", b"a" * 257, b"a\x7f"):
        yield Case(
            f"chunk extension {extension[:8]!r} of {len(extension)}",
            CHUNKED + b"2;" + extension + b"\r\nab\r\n0\r\n\r\n",
        )
    yield Case("chunk extension that is fine", CHUNKED + b'2;a="b"\r\nab\r\n0;c\r\n\r\n', None, b"ab")
    yield Case("lf after a chunk size", CHUNKED + b"2\nab\r\n0\r\n\r\n")
    yield Case("lf in a chunk extension", CHUNKED + b"2;a\nab\r\n0\r\n\r\n")
    yield Case("cr after a chunk size", CHUNKED + b"2\rab\r\n0\r\n\r\n")
    yield Case("lf after a chunk", CHUNKED + b"2\r\nab\n0\r\n\r\n")
    yield Case("nothing after a chunk", CHUNKED + b"2\r\nab0\r\n\r\n")
    yield Case("a chunk longer than its size", CHUNKED + b"2\r\nabc\r\n0\r\n\r\n")
    yield Case("lf after the last chunk", CHUNKED + b"0\n\r\n")
    yield Case("lf as the end of trailers", CHUNKED + b"0\r\n\n")
    for name in (b"Content-Length: 2", b"Transfer-Encoding: chunked", b"Host: a", b"X-Weft-Caller: me", b"Authorization: a",
                 b" X-A: a", b"\tX-A: a", b": a", b"X-A : a", b"X-A"):  # fmt: skip
        yield Case(f"trailer {name!r}", CHUNKED + b"2\r\nab\r\n0\r\n" + name + b"\r\n\r\n")
    yield Case("a trailer of 5 KiB", CHUNKED + b"0\r\nX-A: " + b"a" * 5_000 + b"\r\n\r\n", 431)
    yield Case("chunks of all sizes", CHUNKED + b"1\r\na\r\n000A\r\nbbbbbbbbbb\r\n0\r\n\r\n", None, b"a" + b"b" * 10)
    yield Case("trailers", CHUNKED + b"2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n", None, b"ab")


CASES = tuple(
    case
    for group in (
        _lines,
        _fields,
        _request_lines,
        _targets,
        _hosts,
        _lengths,
        _expectations,
        _connection_fields,
        _chunks,
    )
    for case in group()
)
