"""One small HTTP request from inside an event loop: to look whether a process answers, and to talk to the agent's API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, fields in lower case, body."""

    status: int
    fields: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        """The body as a JSON object; raises `ValueError`."""
        found = json.loads(self.body)
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")
        return found


async def call(
    method: str,
    url: str,
    *,
    body: object = None,
    host: str | None = None,
    tls: ssl.SSLContext | None = None,
    timeout: float = 5.0,
) -> Answer:
    """Ask on a connection of its own; raises `OSError` (`TimeoutError` included) where no whole answer came."""
    parts = urlsplit(url)
    content = b"" if body is None else json.dumps(body).encode()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = f"{method} {target} HTTP/1.1\r\nhost: {host or parts.netloc}\r\nconnection: close\r\n"
    if content:
        head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
    elif method in ("PUT", "POST"):
        head += "content-length: 0\r\n"
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
        try:
            writer.write(head.encode() + b"\r\n" + content)
            return await _answer(reader)
        except (asyncio.IncompleteReadError, ValueError, IndexError) as error:
            raise ConnectionError(f"{url} gave no whole answer") from error
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    status = int(lines[0].split(" ")[1])
    if "content-length" in fields:
        return Answer(status, fields, await reader.readexactly(int(fields["content-length"])))
    if fields.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readline()).strip(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        return Answer(status, fields, body)
    return Answer(status, fields, await reader.read())


async def ready(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        return (await call("GET", url, timeout=1.0)).status == 200
    except OSError:
        return False
