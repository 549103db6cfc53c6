"""A small server that ends TLS itself: `tls_server.py PORT CERTIFICATE KEY`.

It says back what it is sent, in capitals. A line of the PROXY protocol before the TLS is said first, without its end.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading

_PATIENCE = 20.0


def serve(port: int, certificate: str, key: str) -> None:
    """For ever, a thread for each connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_talk, args=(connection, context), daemon=True).start()


def _talk(connection: socket.socket, context: ssl.SSLContext) -> None:
    connection.settimeout(_PATIENCE)
    with contextlib.suppress(OSError), connection:
        line = b""
        if connection.recv(5, socket.MSG_PEEK | socket.MSG_WAITALL) == b"PROXY":
            while not line.endswith(b"\r\n"):
                line += connection.recv(1)
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(line.rstrip() + b"\n")
            while data := secure.recv(65536):
                secure.sendall(data.upper())


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], sys.argv[3])
