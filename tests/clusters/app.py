"""An app for clusters. It says which version and which pod answers: ``v1 shop-7d9f``; what is posted comes back.

    /                  the name
    /healthz           200, unless the version is ``sick``
    /slow?seconds=2    the name, later

It listens on PORT (8080), writes a line for each request, and on SIGTERM finishes what it has under way. Another
command of its image runs instead of it: there is a shell.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

VERSION = os.environ.get("VERSION", "none")
NAME = f"{VERSION} {socket.gethostname()}"


def say(text: str) -> None:
    """Write a line that whoever reads the logs sees at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Answers(BaseHTTPRequestHandler):
    """The requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    under_way = 0
    changed = threading.Condition()
    stopping = False

    def do_GET(self) -> None:
        """Answer by the path."""
        with Answers.changed:
            Answers.under_way += 1
        try:
            self._answer()
        finally:
            with Answers.changed:
                Answers.under_way -= 1
                Answers.changed.notify_all()

    do_POST = do_GET  # noqa: N815  # the name that the module asks for

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = urlsplit(self.path)
        if asked.path == "/slow":
            time.sleep(float(parse_qs(asked.query)["seconds"][0]))
        healthy = asked.path != "/healthz" or VERSION != "sick"
        said = body or NAME.encode() + b"\n"
        self.send_response(200 if healthy else 503)
        self.send_header("X-Version", VERSION)
        self.send_header("Content-Length", str(len(said)))
        if Answers.stopping:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, form: str, *values: object) -> None:
        """A line on standard output, but not for the probes."""
        if self.path != "/healthz":
            say(form % values)


class Server(ThreadingHTTPServer):
    """A thread a connection."""

    request_queue_size = 1024

    def handle_error(self, *_: object) -> None:
        """A client that is gone is no matter."""


def main() -> None:
    """Serve until SIGTERM."""
    server = Server(("", int(os.environ.get("PORT", "8080"))), Answers)
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    say(f"{NAME} listens")
    told.wait()
    say(f"{NAME} was told to stop")
    Answers.stopping = True
    server.shutdown()
    server.socket.close()
    with Answers.changed:
        Answers.changed.wait_for(lambda: Answers.under_way == 0)
    say(f"{NAME} stopped")


if __name__ == "__main__":
    main()
