"""A small service, as anybody may have one: plain Python, no line of mesh code, one port on loopback.

It answers every request with JSON: who it is and what it received. Told by `WEFT_UPSTREAM_<NAME>_URL` of other services, it
calls each and includes what they answered. A file named by `--trouble`, such as {"delay": 0.3, "status": 500}, makes it
behave badly while it is there. Run as a script: `sample.py --service web --instance web-1 --port 8080`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PASSED_ON = ("x-request-id", "traceparent", "tracestate")
connections = threading.local()


def upstreams() -> dict[str, str]:
    """Name to URL of the services to call."""
    prefix, suffix = "WEFT_UPSTREAM_", "_URL"
    return {
        name[len(prefix) : -len(suffix)].lower().replace("_", "-"): url
        for name, url in sorted(os.environ.items())
        if name.startswith(prefix) and name.endswith(suffix)
    }


def ask(url: str, path: str, headers: dict[str, str]) -> tuple[int, object]:
    """GET, on a connection that is kept; one that was closed meanwhile is opened again."""
    kept: dict[str, http.client.HTTPConnection] = connections.__dict__
    parts = urlsplit(url)
    for last in (False, True):
        fresh = url not in kept
        if fresh:
            kept[url] = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
            kept[url].connect()
            kept[url].sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            kept[url].request("GET", path, headers=headers)
            response = kept[url].getresponse()
            body = response.read()
            break
        except (OSError, http.client.HTTPException):
            kept.pop(url).close()
            if fresh or last:
                raise
    try:
        return response.status, json.loads(body)
    except ValueError:
        return response.status, {"reason": response.headers.get("x-weft-reason"), "body": body.decode("latin-1")}


class Sample(ThreadingHTTPServer):
    """The server, and what it is called."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(("127.0.0.1", options.port), Handler)
        self.options = options
        self.upstreams = upstreams()

    def trouble(self) -> dict[str, float]:
        """How to behave badly now."""
        try:
            with open(self.options.trouble) as file:
                found: dict[str, float] = json.load(file)
                return found
        except (OSError, ValueError, TypeError):
            return {}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Sample
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def answer(self) -> None:
        """Every method, every path."""
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else self.chunks()
        if self.path == "/healthz":
            return self.send(200, {"ok": True})
        trouble = self.server.trouble()
        time.sleep(trouble.get("delay", 0))
        options = self.server.options
        said: dict[str, object] = {
            "service": options.service,
            "version": options.version,
            "instance": options.instance,
            "received": {
                "method": self.command,
                "path": self.path,
                "headers": dict(self.headers.items()),
                "body": body.decode("latin-1"),
            },
        }
        status = int(trouble.get("status", 200))
        passed_on = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        for name, url in self.server.upstreams.items():
            try:
                code, said[name] = ask(url, self.path, passed_on)
            except (OSError, http.client.HTTPException) as error:
                code, said[name] = 502, {"error": f"{type(error).__name__}: {error}"}
            status = 502 if code >= 400 else status
        return self.send(status, said)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer

    def chunks(self) -> bytes:
        """A body sent in chunks, if it is one."""
        found = b""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        return found

    def send(self, status: int, said: dict[str, object]) -> None:
        """The answer."""
        body = json.dumps(said, indent=2).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Not every request."""


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--service", required=True)
    parser.add_argument("--instance", required=True)
    parser.add_argument("--version", default="v1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--trouble")
    try:
        Sample(parser.parse_args()).serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
