"""A small service, as anybody may have one: plain Python, no line of mesh code, one port on loopback.

It answers every request with JSON: who it is and what it received. Told by `WEFT_UPSTREAM_<NAME>_URL` of other services, it
calls each at the same path, includes what they answered under their names, and answers as badly as the worst of them.
`/healthz` is for checks, `/slow?ms=200` takes its time. A file named by `--trouble`, such as {"delay": 0.3, "status": 500},
makes it behave badly while it is there. Run as a script: `sample.py --service web --instance web-1 --port 8080`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

PASSED_ON = ("x-request-id", "traceparent", "tracestate")
PATIENCE = 20.0
SHOWN = 4096  # bytes of a body that are told back


@dataclass(slots=True)
class Message:
    """A request or an answer: its first line in three words, its fields in lower case, its body."""

    words: list[str]
    fields: dict[str, str]
    body: bytes = b""

    @property
    def last(self) -> bool:
        """Whether the connection ends with it."""
        return self.fields.get("connection", "").lower() == "close" or "HTTP/1.0" in self.words


async def read_message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Message:
    """The next one; raises `EOFError` at the end of the connection and `ValueError` for what is no HTTP."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:] if line)
    found = Message(lines[0].split(" ", 2), {name.lower(): value.strip() for name, _, value in pairs})
    if found.fields.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if found.fields.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readline()).split(b";")[0], 16):
            found.body += await reader.readexactly(size)
            await reader.readline()
        while (await reader.readline()).strip():
            pass  # trailers
    else:
        found.body = await reader.readexactly(int(found.fields.get("content-length", 0)))
    return found


@dataclass(slots=True)
class Upstream:
    """Another service, on connections that are kept."""

    url: str
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def get(self, path: str, fields: Mapping[str, str]) -> tuple[int, object]:
        """Ask; once more on a new connection where a kept one turns out to be closed."""
        async with asyncio.timeout(PATIENCE):
            if self.idle:
                try:
                    return await self.ask(*self.idle.pop(), path, fields)
                except (OSError, EOFError):
                    self.forget()
            parts = urlsplit(self.url)
            return await self.ask(*await asyncio.open_connection(parts.hostname, parts.port), path, fields)

    async def ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, fields: Mapping[str, str]
    ) -> tuple[int, object]:
        """One request on a connection, which is kept if it can be."""
        head = {"host": urlsplit(self.url).netloc, **fields}
        writer.write(f"GET {path} HTTP/1.1\r\n{lines(head)}\r\n".encode("latin-1"))
        kept = False
        try:
            answer = await read_message(reader, writer)
            kept = not answer.last
        finally:
            self.idle.append((reader, writer)) if kept else writer.close()
        try:
            return int(answer.words[1]), json.loads(answer.body)
        except ValueError:
            return int(answer.words[1]), {
                "reason": answer.fields.get("x-weft-reason"),
                "body": answer.body.decode("latin-1"),
            }

    def forget(self) -> None:
        """Close what is kept: where one connection is stale, so are the others."""
        for _, writer in self.idle:
            writer.close()
        self.idle.clear()


@dataclass(slots=True)
class Sample:
    """One instance of a service."""

    service: str
    instance: str
    version: str
    trouble: str | None
    upstreams: Mapping[str, Upstream]

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer request after request."""
        with contextlib.suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            last = False
            while not last:
                request = await read_message(reader, writer)
                last = request.last
                status, said = await self.answer(request)
                body = json.dumps(said, indent=2).encode() + b"\n"
                head = {"content-type": "application/json", "content-length": str(len(body))}
                head |= {"connection": "close"} if last else {}
                first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
                writer.write((first + lines(head) + "\r\n").encode() + (b"" if request.words[0] == "HEAD" else body))
                await writer.drain()
        writer.close()

    async def answer(self, request: Message) -> tuple[int, dict[str, object]]:
        """Every method, every path."""
        method, path, _ = request.words
        url = urlsplit(path)
        if url.path == "/healthz":
            return 200, {"ok": True}
        trouble = self.troubled()
        delay = float(parse_qs(url.query).get("ms", ["0"])[0]) / 1000 if url.path == "/slow" else 0.0
        await asyncio.sleep(min(delay + trouble.get("delay", 0.0), PATIENCE))
        status = int(trouble.get("status", 200))
        said: dict[str, object] = {
            "service": self.service,
            "version": self.version,
            "instance": self.instance,
            "received": {
                "method": method,
                "path": path,
                "headers": request.fields,
                "length": len(request.body),
                "body": request.body[:SHOWN].decode("latin-1"),
            },
        }
        fields = {name: request.fields[name] for name in PASSED_ON if name in request.fields}
        for name, upstream in self.upstreams.items():
            try:
                code, said[name] = await upstream.get(path, fields)
            except (OSError, EOFError, ValueError) as error:
                code, said[name] = 502, {"error": f"{type(error).__name__}: {error}"}
            said[f"{name}_status"] = code
            status = max(status, code) if code >= 400 else status
        return status, said

    def troubled(self) -> dict[str, float]:
        """How to behave badly now."""
        try:
            with open(self.trouble or os.devnull) as file:
                found: dict[str, float] = json.load(file)
                return found
        except (OSError, ValueError):
            return {}


def lines(fields: Mapping[str, str]) -> str:
    """Fields as they are sent."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items())


def upstreams() -> dict[str, Upstream]:
    """The services to call, as the environment names them."""
    prefix, suffix = "WEFT_UPSTREAM_", "_URL"
    return {
        name[len(prefix) : -len(suffix)].lower().replace("_", "-"): Upstream(url)
        for name, url in sorted(os.environ.items())
        if name.startswith(prefix) and name.endswith(suffix)
    }


async def serve(options: argparse.Namespace) -> None:
    """Until a signal."""
    sample = Sample(options.service, options.instance, options.version, options.trouble, upstreams())
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await asyncio.start_server(sample.connection, "127.0.0.1", options.port, backlog=256)
    await ended.wait()


def main() -> None:
    """Serve as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--service", required=True)
    parser.add_argument("--instance", required=True)
    parser.add_argument("--version", default="v1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--trouble")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
