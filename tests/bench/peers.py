"""nginx and HAProxy as the engine's peers: one worker each, keep-alive on both sides, access log off, no temporary files.

The application behind all of them is an nginx too: it answers `/<bytes>` in plain on one port and over mutual TLS on another.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.certificates import Files
from tests.bench.meter import children


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that listens, and the processes whose CPU time is its cost."""

    name: str
    port: int
    pids: tuple[int, ...]

    @property
    def url(self) -> str:
        """Of its root, in plain."""
        return f"http://127.0.0.1:{self.port}/"


NGINX = """\
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; proxy_max_temp_file_size 0; keepalive_requests 100000000; keepalive_timeout 3600s; client_body_temp_path {dir}/b;
  proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  {body}
}}
"""

HAPROXY = """\
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:{port}{listen}
  default_backend up
backend up
  server u 127.0.0.1:{upstream}{tls}
"""


PACKAGES = {"h2load": "nghttp2-client"}


def missing(program: str) -> str | None:
    """Why a peer cannot be measured here, or None."""
    if shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/bin:/sbin:/bin"):
        return None
    return f"{program} is not installed: apt install {PACKAGES.get(program, program)}"


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the application answers."""

    plain: int
    tls: int
    grpc: int


# Small answers are kept in the configuration; nginx takes no longer ones there.
RETURNED = (36, 1024)
SERVED = (64 * 1024, 1024 * 1024)


@contextlib.contextmanager
def upstream(directory: Path, *, ports: Upstream, tls: Files) -> Iterator[Upstream]:
    """The application: small answers from the configuration, large ones from files, which are best in memory."""
    files = directory.with_name("files")
    files.mkdir()
    files.chmod(0o755)
    for size in SERVED:
        (files / str(size)).write_bytes(b"x" * size)
    answers = " ".join(f'location = /{size} {{ return 200 "{"x" * size}"; }}' for size in RETURNED)
    body = (
        "sendfile off; output_buffers 2 512k; open_file_cache max=16; "
        f"server {{ listen 127.0.0.1:{ports.plain} backlog=4096; "
        f"listen 127.0.0.1:{ports.tls} ssl backlog=4096; {_terminates(tls)} "
        f"{answers} location / {{ root {files}; }} }} "
        # As a server of gRPC answers, seen by whoever only carries it: an empty message, and a status behind it.
        f"server {{ listen 127.0.0.1:{ports.grpc} http2 backlog=4096; default_type application/grpc; "
        f"add_trailer grpc-status 0; location / {{ empty_gif; }} location = /36 {{ return 200 '     '; }} }}"
    )
    with nginx("upstream", directory, body=body, port=ports.plain):
        yield ports


@contextlib.contextmanager
def nginx_proxy(
    directory: Path,
    *,
    port: int,
    upstream_port: int,
    tls: Files | None = None,
    listen: Files | None = None,
    http2: bool = False,
    grpc: bool = False,
) -> Iterator[Running]:
    """nginx in front of a port: `tls` is what it shows there, `listen` what it shows its own clients; None is plain."""
    secure = ""
    if tls is not None:
        secure = (
            f"proxy_ssl_certificate {tls.chain}; proxy_ssl_certificate_key {tls.key}; proxy_ssl_verify on; "
            f"proxy_ssl_trusted_certificate {tls.ca}; proxy_ssl_name {tls.server_name}; proxy_ssl_server_name on; "
            "proxy_ssl_protocols TLSv1.3; proxy_ssl_verify_depth 3;"
        )
    accept = f"ssl backlog=4096; {_terminates(listen)}" if listen else "backlog=4096;"
    if http2 or grpc:
        accept = f"http2 {accept}"
    leads = (
        "grpc_pass grpc://u;"
        if grpc
        else f"proxy_pass http{'s' if tls else ''}://u; proxy_http_version 1.1; proxy_set_header Connection '';"
    )
    body = (
        f"upstream u {{ server 127.0.0.1:{upstream_port}; keepalive 512; keepalive_requests 100000000; }} "
        f"server {{ listen 127.0.0.1:{port} {accept} location / {{ "
        f"{leads} proxy_set_header Host $host; {secure} }} }}"
    )
    with nginx("nginx", directory, body=body, port=port) as running:
        yield running


def _terminates(tls: Files) -> str:
    return (
        f"ssl_certificate {tls.chain}; ssl_certificate_key {tls.key}; ssl_client_certificate {tls.ca}; "
        "ssl_verify_client on; ssl_protocols TLSv1.3; ssl_verify_depth 3;"
    )


@contextlib.contextmanager
def nginx(name: str, directory: Path, *, body: str, port: int) -> Iterator[Running]:
    """An nginx with one worker, which is the process whose time counts."""
    directory.mkdir()
    (directory / "nginx.conf").write_text(NGINX.format(dir=directory, body=body))
    with _process(["nginx", "-e", str(directory / "error.log"), "-c", str(directory / "nginx.conf")], port) as process:
        yield Running(name, port, tuple(children(process.pid)))


@contextlib.contextmanager
def haproxy(
    directory: Path,
    *,
    port: int,
    upstream_port: int,
    tls: Files | None = None,
    listen: Files | None = None,
    http2: bool = False,
    grpc: bool = False,
) -> Iterator[Running]:
    """HAProxy with one thread in front of a port; `tls` and `listen` as for nginx."""
    directory.mkdir()
    secure = " proto h2" if grpc else ""
    accept = " proto h2" if http2 or grpc else ""
    if tls is not None:
        secure = (
            f" ssl verify required ca-file {tls.ca} crt {_pem(tls, directory)} sni str({tls.server_name}) "
            f"verifyhost {tls.server_name} ssl-min-ver TLSv1.3"
        )
    if listen is not None:
        accept = f" ssl crt {_pem(listen, directory)} ca-file {listen.ca} verify required ssl-min-ver TLSv1.3"
    (directory / "haproxy.cfg").write_text(HAPROXY.format(port=port, upstream=upstream_port, tls=secure, listen=accept))
    with _process(["haproxy", "-db", "-f", str(directory / "haproxy.cfg")], port) as process:
        yield Running("haproxy", port, (process.pid,))


def _pem(files: Files, directory: Path) -> Path:
    """Chain and key in one file, as HAProxy wants them."""
    pem = directory / files.chain.name
    pem.touch(mode=0o600)
    pem.write_text(files.chain.read_text() + files.key.read_text())
    return pem


@contextlib.contextmanager
def _process(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    path = shutil.which(command[0], path="/usr/sbin:/usr/bin:/usr/local/bin:/sbin:/bin")
    assert path is not None, missing(command[0])
    process = subprocess.Popen([path, *command[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        await_port(port, process)
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


def await_port(port: int, process: subprocess.Popen[bytes] | None = None, *, within: float = 10.0) -> None:
    """Return when the port answers; raises with what the process said if `process` ends first."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if process is not None and process.poll() is not None:
            said = process.stderr.read().decode() if process.stderr else ""
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}: {said}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on {port} after {within:g} s")
