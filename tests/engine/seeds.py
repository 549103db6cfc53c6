"""What fuzzers begin with, made from the tables of other tests: `python -m tests.engine.seeds`, which is `make seeds`.

One JSON file per target; each text is one input, each of its characters one byte. The first byte of most inputs says how many
cuts follow and chooses among variants: see `Input` in `weft-proofs`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgpack

from tests.engine import announcements, corpus, hellos, test_paths, test_responses
from tests.support import http2

_REPOSITORY = Path(__file__).parents[2]
_SEEDS = _REPOSITORY / "proxy/engine/fuzz/seeds"
_GOLDEN = _REPOSITORY / "tests/golden/sections"
_LONGEST = 1_000

_SECTIONS = ("host", "listener", "service", "endpoints", "gateway")
"""In the order in which `weft-proofs` counts them."""

_OK = b"HTTP/1.1 200 OK\r\n"
_GOOD_RESPONSES = (
    _OK + b"Content-Length: 3\r\n\r\nabc" + _OK + b"Content-Length: 0\r\n\r\n",
    _OK + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nuntil the end",
    b"HTTP/1.1 304 Not Modified\r\nETag: a\r\nContent-Length: 9\r\n\r\n" + _OK + b"\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nbytes",
)

_IDS = (
    "spiffe://corp/ns/shop/dc/ams1/svc/api\nshop/api",
    "spiffe://corp/ns/shop/dc/ams1/svc/api\nshop/*",
    "spiffe://corp/ns/shop/dc/ams2/svc/api\nshop/api",
    "spiffe://other.corp/ns/shop/dc/ams1/svc/api\n*",
    "spiffe://corp/ns/mesh/dc/ams1/gateway/edge\ngateway:edge",
    "spiffe://corp/host/vm-1\nspiffe://corp/host/vm-1",
    "spiffe://corp/controller/ctl-1\nshop/api",
    "spiffe://corp\n*",
    "spiffe://corp/a/../b\n*",
    "spiffe://corp/a//b\n*",
    "spiffe://corp:443/a\n*",
    "spiffe://Corp/a/\n*",
)

_ASSEMBLED = (
    b"\x01GET\n/a?b\napi.test\naccept: */*\ncookie: a=1\ncookie: b=2\nte: trailers",
    b"\x00POST\n/\napi.test:8080\ncontent-length: 3\ncontent-type: text/plain",
    b"\x00PUT\n/%41\n-\nhost: api.test\nexpect: 100-continue\nx_under: score",
    b"\x01OPTIONS\n*\n[::1]:80\nhost: [::1]:80",
    b"\x01GET\n/\napi.test\nhost: other.test",
    b"\x01GET\n/\napi.test\nconnection: close\nx-weft-caller: me",
)


def write(target: str, inputs: Iterable[bytes]) -> None:
    """The seeds of a target, each once, in their order."""
    found = [data.decode("latin-1") for data in dict.fromkeys(inputs) if len(data) <= _LONGEST or target == "frames"]
    _SEEDS.mkdir(parents=True, exist_ok=True)
    (_SEEDS / f"{target}.json").write_text(json.dumps(found, indent=0) + "\n")
    print(f"{target}: {len(found)}")


def requests() -> Iterator[bytes]:
    """The corpus, whole and with a request behind it, some of it cut."""
    for number, case in enumerate(corpus.CASES):
        yield (b"\x02\x09\x07" if number % 4 == 0 else b"\x00") + case.data + corpus.AFTER


def bodies() -> Iterator[bytes]:
    """Chunked bodies of the corpus."""
    return (
        b"\x00" + case.data.removeprefix(corpus.CHUNKED)
        for case in corpus.CASES
        if case.data.startswith(corpus.CHUNKED)
    )


def responses() -> Iterator[bytes]:
    """To GET, to HEAD, and to an offered upgrade."""
    for data in (*_GOOD_RESPONSES, *test_responses.BAD.values(), *test_responses.TORN.values()):
        yield b"\x00" + data
    for data in _GOOD_RESPONSES:
        yield b"\x08" + data
        yield b"\x12\x05\x05" + data


def paths() -> Iterator[bytes]:
    """A path, and a prefix that may match it."""
    for path in ("/", "/a/b", "/a/", *test_paths.DOTS, *test_paths.ENCODED):
        yield f"{path}\n/a".encode()


def golden() -> dict[str, bytes]:
    """The sections that both languages read."""
    files = sorted(_GOLDEN.rglob("*.msgpack"))
    return {str(path.relative_to(_GOLDEN).with_suffix("")): path.read_bytes() for path in files}


def frames() -> Iterator[bytes]:
    """Every frame an agent sends."""
    apply = {
        "type": "apply",
        "base": 0,
        "generation": 1,
        "policy": 7,
        "registry": 9,
        "reset": True,
        "delete": ["gateway/x"],
    }
    yield msgpack.packb(apply | {"set": golden()})
    for name, section in golden().items():
        yield msgpack.packb(apply | {"set": {name: section, "host": golden()["host"]}})
    yield msgpack.packb({"type": "hello", "schema": 1, "agent": "vm-1"})
    yield msgpack.packb(
        {"type": "identity", "epoch": 3, "service": "shop/api", "chain": [b"0\x03abc"], "key": b"0\x01k"}
    )
    yield msgpack.packb({"type": "trust", "epoch": 4, "bundles": {"corp": [b"0\x03abc"]}, "revoked": ["0f"]})
    yield msgpack.packb({"type": "drain", "deadline_ms": 30_000})
    yield msgpack.packb({"type": "inspect"})


def sections() -> Iterator[bytes]:
    """The golden sections, each behind the number of its kind."""
    for name, section in golden().items():
        yield bytes([_SECTIONS.index(name.split("/")[0])]) + section


def any_frames() -> Iterator[bytes]:
    """Frames of a client, behind its preface and first settings."""
    get = http2.headers(1, http2.request("/a?b", x_a="b", cookie="c=d"))
    post = http2.headers(3, http2.request("/b", method="POST", content_length="4"), ended=False)
    data = http2.frame(http2.DATA, http2.END_STREAM, 3, b"four")
    block = http2.request("/c")
    split = http2.frame(http2.HEADERS, http2.END_STREAM, 5, block[:9]) + http2.frame(
        http2.CONTINUATION, 4, 5, block[9:]
    )
    trailers = http2.frame(http2.HEADERS, 5, 3, http2.fields([("x-sum", "1")]))
    reset = http2.frame(http2.RST_STREAM, 0, 1, (8).to_bytes(4))
    window = http2.frame(http2.WINDOW_UPDATE, 0, 1, (9).to_bytes(4))
    settings = http2.frame(http2.SETTINGS, payload=b"\0\4\0\0\0\5\0\1\0\0\0\0")
    others = http2.frame(http2.PING, payload=bytes(8)) + http2.frame(http2.PRIORITY, 0, 7, bytes(5))
    end = http2.frame(http2.GOAWAY, payload=bytes(8))
    yield get + post + data
    yield post + http2.frame(http2.DATA, 0, 3, b"four") + trailers + get
    yield settings + get + window + reset + split
    yield others + split + end
    yield get + http2.frame(http2.DATA, 8, 1, b"\2ab\0\0") + others * 30
    yield http2.headers(
        1, http2.request("/") + http2.fields([("connection", "close"), ("X-Upper", "a"), ("te", "gzip")])
    )


def http2_inputs() -> Iterator[bytes]:
    """Frames as they are, whole and cut, and scripts of good requests."""
    for data in any_frames():
        yield b"\0\0" + data
        yield b"\0\3\x0a\1\x20" + data
    for first in (1, 3):
        yield bytes([first, 3]) + bytes(range(1, 80))
        yield bytes([first, 200]) + bytes(range(250, 100, -1))
        yield bytes([first, 0]) + b"\x0f\2\5hello\2\3abc\4wxyz\1\4\7value\x09\x40\x31\x20" * 3


def certificates() -> Iterator[bytes]:
    """Contents of certificates, changes of one, and server names."""
    service = "spiffe://test.weft/ns/shop/dc/local/svc/api"
    for names in (
        service,
        service + "\ndns:api.test",
        service + "\n" + service,
        "spiffe://test.weft/ns/mesh/dc/local/gateway/edge",
        "spiffe://test.weft/host/vm-1",
        "spiffe://elsewhere/ns/shop/dc/local/svc/api",
        "https://test.weft/ns/shop/dc/local/svc/api",
        "dns:api.test",
    ):
        yield b"\2\0\0\0\0" + names.encode()
        yield b"\2\x09\xf0\0\0" + names.encode()
        yield b"\2\7\x87\x31\7" + names.encode()
    yield from (b"\1", b"\1\0\x20\5", b"\1\1\0\xff\0\x60\1")
    yield from (
        b"\3api-1.api.shop.test.weft",
        b"\3.api.shop.test.weft",
        b"\3a.b.c.d.test.weft",
        b"\3API-1.api.shop.elsewhere",
    )
    yield b"\0\x30\x82\1\0\x30\x81\xa0\3\2\1\2\2\1\1"


def any_hellos() -> Iterator[bytes]:
    """Hellos as they are, whole and in small records, some of them cut; and what hellos are made of."""
    share = (36).to_bytes(2) + b"\0\x1d\0\x20" + bytes(range(32))
    further = (
        hellos.extension(10, b"\0\2\0\x1d"),
        hellos.extension(13, b"\0\4\4\3\x08\4"),
        hellos.extension(16, b"\0\x0c\x02h2\x08http/1.1"),
        hellos.extension(43, b"\2\3\4"),
        hellos.extension(51, share),
    )
    named = hellos.server_name(b"Db.Example.com")
    whole = hellos.message(hellos.body(named, *further))
    good = hellos.record(whole)
    yield b"\0" + good
    yield b"\3\5\6\x2b" + good
    yield b"\2\1\xff" + hellos.records(whole, 50) + hellos.record(b"early data", kind=23)
    yield b"\0" + hellos.record(hellos.message(hellos.body(*further, version=b"\3\1")))
    yield b"\0" + hellos.record(hellos.message(hellos.body()[:-2]))
    yield b"\0" + hellos.record(hellos.message(hellos.body(named, hellos.extension(41, bytes(40)))))
    for number, case in enumerate(hellos.spoiled(good)):
        yield (b"\2\3\x30" if number % 4 == 0 else b"\0") + case.data
    for size in (0, 1, 3, 5):
        # See `wire` in the check: by two bits what it is, by three in records of which size.
        kind = size << 5
        yield bytes([kind | 1 << 3]) + hellos.body(named, *further)
        yield bytes([kind | 2 << 3]) + named + b"".join(further)
        for name in (b"db.example.com", b"192.0.2.7", b"2001:db8::1.2.3.4", b"*.a", b"a..b", b"_a-b.0"):
            yield bytes([kind | 3 << 3]) + name


def any_announcements() -> Iterator[bytes]:
    """Headers of the PROXY protocol with a request behind them, some of them cut; and what they are made of."""
    for number, (header, _) in enumerate(announcements.GOOD):
        yield (b"\2\5\x0b" if number % 2 else b"\0") + header + b"GET / HTTP/1.1\r\n"
    yield from (b"\0" + data for data, _ in announcements.BAD)
    for line in (
        "TCP4 1.2.3.4 255.0.10.1 0 65535",
        "TCP6 ::1 1:2:3:4:5:6:7:8 1 2",
        "TCP6 1::2:1.2.3.4 :: 1 2",
        "TCP6 1::2::3 :: 1 2",
        "TCP4 1.2.3.4 1.2.3.4 01 2",
        "TCP4 1.2.3.4 1.2.3.4 1 +2",
        "TCP4 1.2.3.4 1.2.3.4 1 2 3",
        "UNKNOWN x",
    ):
        yield b"\x08" + line.encode() + b"\r\n"
    fields = b"\4\0\3xyz" + b"\xea\0\2ab"
    for kind in (2, 3):
        yield bytes([kind << 3]) + b"\x21\x11" + announcements.V4 + fields
        yield bytes([kind << 3]) + b"\x21\x22" + announcements.V6 + fields
        yield bytes([kind << 3]) + b"\x21\x31" + bytes(216)
        yield bytes([kind << 3]) + b"\x20\xff" + fields


if __name__ == "__main__":
    write("requests", requests())
    write("bodies", bodies())
    write("responses", responses())
    write("assembled", _ASSEMBLED)
    write("paths", paths())
    write("frames", frames())
    write("sections", sections())
    write("http2", http2_inputs())
    write("certificates", certificates())
    write("hellos", any_hellos())
    write("announcements", any_announcements())
    write("ids", (text.encode() for text in _IDS))
