"""A gateway that passes TLS on to the service `db`, and a client of it: documents and bytes."""

from __future__ import annotations

import socket
import ssl

from policy.compiled import CertificateFiles

NAME = "db.example.com"
GATEWAY = """\
apiVersion: weft/v1
kind: Gateway
spec:
  listeners:
  - {{name: http, port: {http}, protocol: http}}
  - {{name: db, port: {plain}, protocol: tls, hosts: ["*.example.com"]}}
  - {{name: told, port: {told}, protocol: tls, proxy_protocol: {{from: [127.0.0.0/8]}}}}
"""
ROUTE = """\
apiVersion: weft/v1
kind: Route
spec:
  gateway: edge
  hosts: [db.example.com]
  rules: [{to: [db]}]
"""
ACCESS = "apiVersion: weft/v1\nkind: Access\nspec: {{service: db, rules: [{{allow: {{from: [{caller}]}}}}]}}\n"
TRAFFIC = "apiVersion: weft/v1\nkind: Traffic\nspec: {service: db, proxy_protocol: v1}\n"


def asked(port: int, files: CertificateFiles, *, name: str = NAME, before: bytes = b"") -> bytes:
    """What the application says first, and then to a word; its certificate is believed and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(files.cert_file)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(before)
        with context.wrap_socket(connection, server_hostname=name) as secure:
            first = secure.recv(65536)
            secure.sendall(b"word")
            assert secure.recv(65536) == b"WORD"
            return first
