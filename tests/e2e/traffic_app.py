"""An app for every kind of traffic, deployed into a slot. It says which instance answers, as ``2 in b``.

    /            the name; what is posted comes back
    /wait        the name, at the next /release
    /upload      the name and the SHA-256 of what came in chunks
    /download    DOWNLOAD bytes that only this instance has
    /events      server-sent events until the next /release
    /websocket   a WebSocket (RFC 6455): each short text comes back after the name, pings are answered

SIGTERM kills it on the spot, with all that it has under way. Some versions are bad: ``sick`` is never healthy,
``unwell`` no longer once it got traffic, and ``dying`` exits with its first request.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DOWNLOAD = 32 << 20
"""More than all the buffers on its way hold, so it stays in flight as long as nobody reads it."""
CLOSE, PING, PONG, TEXT = 8, 9, 10, 1
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

admitted = threading.Event()


def content_of(name: str) -> bytes:
    """What the instance of that name has to download."""
    return random.Random(name).randbytes(1 << 20) * (DOWNLOAD >> 20)  # noqa: S311  # no secret, only reproducible


class Answers(BaseHTTPRequestHandler):
    """The requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    version = ""
    name = ""
    release = threading.Event()
    """The next one; each release replaces it."""

    def do_GET(self) -> None:
        """Answer by the path."""
        if "X-Forwarded-For" in self.headers:  # through the balancer, so no probe
            admitted.set()
            if self.version == "dying":
                os._exit(3)
        elif self.version == "sick" or (self.version == "unwell" and admitted.is_set()):
            self.send_error(500)
            return
        paths = {"/events": self._events, "/websocket": self._websocket}
        paths.get(self.path, self._say)()

    def do_POST(self) -> None:
        """Give back what came, or its digest."""
        if self.path == "/upload":
            digest = hashlib.sha256()
            while size := int(self.rfile.readline(), 16):
                digest.update(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            self._answer(f"{self.name} {digest.hexdigest()}".encode())
        else:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _say(self) -> None:
        if self.path == "/wait":
            Answers.release.wait()
        if self.path == "/release":
            released, Answers.release = Answers.release, threading.Event()
            released.set()
        self._answer(content_of(self.name) if self.path == "/download" else self.name.encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("X-Version", self.name)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        released = Answers.release
        while not released.wait(0.02):
            self._chunk(f"data: {self.name}\n\n")
        self.close_connection = True
        self._chunk("event: end\n\n")
        self._chunk("")

    def _chunk(self, text: str) -> None:
        self.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())

    def _websocket(self) -> None:
        # Not a secret: RFC 6455 has the server prove with SHA-1 that it speaks WebSocket.
        key = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + _MAGIC).encode(), usedforsecurity=False)
        self.send_response(101)
        for header in ("Upgrade: websocket", "Connection: Upgrade"):
            self.send_header(*header.split(": "))
        self.send_header("Sec-WebSocket-Accept", b64encode(key.digest()).decode())
        self.end_headers()
        self.close_connection = True
        while head := self.rfile.read(2):
            mask = self.rfile.read(4)
            said = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(head[1] & 0x7F)))
            kind = head[0] & 0x0F
            if kind == TEXT:
                said = f"{self.name}:".encode() + said
            self.wfile.write(bytes([0x80 | (PONG if kind == PING else kind), len(said)]) + said)
            if kind == CLOSE:
                break

    def log_message(self, *_: object) -> None:
        """Not every request."""


class Server(ThreadingHTTPServer):
    """A thread a connection."""

    request_queue_size = 1024

    def handle_error(self, *_: object) -> None:
        """A client that is gone is no matter."""


def main() -> None:
    """Serve on HOST and PORT."""
    Answers.version = Path("version.txt").read_text(encoding="utf-8").strip()
    Answers.name = f"{Answers.version} in {os.environ['SUBSTITUTE_SLOT']}"
    Server((os.environ["HOST"], int(os.environ["PORT"])), Answers).serve_forever()


if __name__ == "__main__":
    main()
