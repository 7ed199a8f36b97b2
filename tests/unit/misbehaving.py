"""A real server on a socket that answers each request as a test tells it to, rightly or not."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Behaviour = Callable[["Peer"], None]

OK = b"HTTP/1.1 200 OK\r\nX-Version: 1\r\nContent-Length: 2\r\n\r\nok"


class GoneError(Exception):
    """The client has closed the connection."""


class Peer:
    """One connection, seen from the server."""

    def __init__(self, connection: socket.socket, requests: list[bytes]) -> None:
        self._connection = connection
        self._requests = requests
        self._data = b""

    def request(self) -> bytes:
        """Read a whole request; its head is returned."""
        while b"\r\n\r\n" not in self._data:
            self.more()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(self._data) < length:
            self.more()
        self.body, self._data = self._data[:length], self._data[length:]
        self._requests.append(head)
        return head

    def more(self) -> bytes:
        """Read whatever comes; all that was not taken yet is returned."""
        data = self._connection.recv(65536)
        if not data:
            raise GoneError
        self._data += data
        return self._data

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def reset(self) -> None:
        """Close with RST."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def finish(self) -> None:
        """Close with FIN, whatever still comes."""
        self._connection.shutdown(socket.SHUT_WR)
        self.wait_for_the_end()

    def wait_for_the_end(self) -> None:
        while True:
            self.more()


class Server:
    """Gives each connection to `behaviour`, in a thread of its own; then closes it."""

    def __init__(self, behaviour: Behaviour, context: ssl.SSLContext | None = None) -> None:
        self._behaviour = behaviour
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(GoneError, OSError):
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            self._behaviour(Peer(connection, self.requests))
        connection.close()


def forever(answer: bytes = OK) -> Behaviour:
    """Keep the connection alive and give each request `answer`."""

    def behave(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(answer)

    return behave
