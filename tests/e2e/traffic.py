"""The kinds of traffic that a deployment meets, by clients that never retry."""

from __future__ import annotations

import hashlib
import socket
import threading
from typing import TYPE_CHECKING, Protocol

from substitute.demo.load import Load
from tests.e2e.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 60.0
_BLOCK = (b"substitute " * 6000)[: 1 << 16]


class Traffic(Protocol):
    """One kind of it. It begins when it is made."""

    held: bool
    """It is one request or stream that is under way until `finish`; else many short requests."""

    def finish(self) -> None:
        """Let what is under way come to its end, and check it. Raises AssertionError and OSError."""

    def answered_by(self) -> set[str]:
        """The instances that answered."""


class Requests:
    """Short requests without pause."""

    held = False

    def __init__(self, port: int, *, method: str = "GET", keepalive: bool = True) -> None:
        self._load = Load(f"http://127.0.0.1:{port}/", method=method, keepalive=keepalive, connections=2)
        self._load.__enter__()

    def wait_for(self, more: int) -> None:
        """Wait until so many more are done."""
        self._load.wait_for(more)

    def finish(self) -> None:
        """No request failed."""
        self._report = self._load.stop()
        assert self._report.failures == [], self._report.failures[:3]
        assert self._report.requests

    def answered_by(self) -> set[str]:
        """By X-Version."""
        return set(self._report.versions)


class OldRequests:
    """HTTP/1.0: a connection each, which the server closes."""

    held = False

    def __init__(self, port: int) -> None:
        self._port = port
        self._seen: set[str] = set()
        self._failures: list[str] = []
        self._done = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for(self, more: int) -> None:
        """Wait until so many more are done."""
        goal = self._done + more
        while self._done < goal:
            self._stopping.wait(0.005)

    def finish(self) -> None:
        """No request failed."""
        self._stopping.set()
        self._thread.join()
        assert self._failures == [], self._failures[:3]
        assert self._seen

    def answered_by(self) -> set[str]:
        """By the body."""
        return self._seen

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with _connected(self._port) as connection:
                    connection.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
                    head, _, body = _to_the_end(connection).partition(b"\r\n\r\n")
                if b" 200 " not in head or f"content-length: {len(body)}".encode() not in head.lower():
                    self._failures.append(repr(head))
                self._seen.add(body.decode())
            except OSError as failure:
                self._failures.append(repr(failure))
            self._done += 1


class Held:
    """A request that the app answers when it is released."""

    held = True

    def __init__(self, port: int) -> None:
        self._connection = _connected(port)
        self._connection.sendall(b"GET /held HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self._version = ""

    def finish(self) -> None:
        """The whole answer comes."""
        with self._connection as connection:
            self._version, body = _answer(_to_the_end(connection))
        assert body.decode() == self._version

    def answered_by(self) -> set[str]:
        """By X-Version."""
        return {self._version}


class Upload:
    """A POST in chunks, of which the last come after the switch."""

    held = True

    def __init__(self, port: int) -> None:
        self._connection = _connected(port)
        self._connection.sendall(
            b"POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"10000\r\n" + _BLOCK + b"\r\n"
        )
        self._version = ""

    def finish(self) -> None:
        """The app got every byte."""
        with self._connection as connection:
            connection.sendall(b"10000\r\n" + _BLOCK + b"\r\n0\r\n\r\n")
            self._version, body = _answer(_to_the_end(connection))
        assert body.decode() == hashlib.sha256(_BLOCK * 2).hexdigest()

    def answered_by(self) -> set[str]:
        """By X-Version."""
        return {self._version}


class Download:
    """64 MiB, of which most are read after the switch."""

    held = True

    def __init__(self, port: int) -> None:
        self._connection = _connected(port, window=1 << 16)
        self._connection.sendall(b"GET /download HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self._first = self._connection.recv(1024)
        self._version = ""

    def finish(self) -> None:
        """Every byte comes, and the end of it."""
        with self._connection as connection:
            self._version, body = _answer(self._first + _to_the_end(connection))
        assert len(body) == 1024 << 16
        assert hashlib.sha256(body).digest() == hashlib.sha256(_BLOCK * 1024).digest()

    def answered_by(self) -> set[str]:
        """By X-Version."""
        return {self._version}


class Events:
    """A stream of server-sent events that ends when it is released."""

    held = True

    def __init__(self, port: int) -> None:
        self._connection = _connected(port)
        self._connection.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self._data = b""
        while b"data: " not in self._data:
            self._more()
        self.cut = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """It was ended by the app, not cut."""
        self.await_end()
        assert not self.cut
        _answer(self._data)

    def await_end(self) -> None:
        """Wait until it ends, however."""
        self._thread.join(_PATIENCE)
        assert not self._thread.is_alive()

    def answered_by(self) -> set[str]:
        """By what the events say."""
        return {line[6:].decode() for line in self._data.splitlines() if line.startswith(b"data: ")}

    def _read(self) -> None:
        with self._connection:
            try:
                while self._more():
                    pass
            except OSError:
                self.cut = True
        self.cut = self.cut or not self._data.endswith(b"0\r\n\r\n")

    def _more(self) -> bytes:
        more = self._connection.recv(1 << 16)
        self._data += more
        return more


class Socket:
    """A WebSocket that is used on both sides of the switch."""

    held = True

    def __init__(self, port: int) -> None:
        self._socket = WebSocket(port)
        self._seen = [self._ask("before")]

    def finish(self) -> None:
        """It still answers, and its client leaves."""
        self._seen.append(self._ask("after"))
        self._socket.close()

    def await_end(self) -> None:
        """Wait until the server closes it."""
        self._socket.await_close()

    def answered_by(self) -> set[str]:
        """By what it said."""
        return set(self._seen)

    def _ask(self, text: str) -> str:
        version, _, echo = self._socket.ask(text).partition(":")
        assert echo == text
        return version


KINDS: dict[str, Callable[[int], Traffic]] = {
    "GET": Requests,
    "POST": lambda port: Requests(port, method="POST"),
    "new connections": lambda port: Requests(port, keepalive=False),
    "HTTP/1.0": OldRequests,
    "slow": Held,
    "chunked upload": Upload,
    "large download": Download,
    "SSE": Events,
    "WebSocket": Socket,
}


def _connected(port: int, *, window: int = 0) -> socket.socket:
    connection = socket.socket()
    if window:  # before it connects: later the kernel would have promised more
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.settimeout(_PATIENCE)
    connection.connect(("127.0.0.1", port))
    return connection


def _to_the_end(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def _answer(data: bytes) -> tuple[str, bytes]:
    """The version and the whole body of an answer of status 200; fails where its end is missing."""
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert " 200 " in status, status
    if headers.get("transfer-encoding") == "chunked":
        body = _joined(body)
    else:
        assert len(body) == int(headers["content-length"])
    return headers["x-version"], body


def _joined(data: bytes) -> bytes:
    found: list[bytes] = []
    place = 0
    while True:
        end = data.index(b"\r\n", place)
        size = int(data[place:end], 16)
        if size == 0:
            assert data[end:] == b"\r\n\r\n"
            return b"".join(found)
        found.append(data[end + 2 : end + 2 + size])
        assert len(found[-1]) == size
        place = end + 4 + size
