"""A server that speaks first, echoes, and answers the end of the other side with what it counted: run with a port."""

from __future__ import annotations

import contextlib
import socketserver
import sys


class Greeter(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Greet, echo lines, and count to the end."""
        self.wfile.write(b"220 ready\n")
        count = 0
        while line := self.rfile.readline():
            count += len(line)
            self.wfile.write(line)
        self.wfile.write(b"counted %d\n" % count)


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt), Server(("127.0.0.1", int(sys.argv[1])), Greeter) as server:
        server.serve_forever()
