"""A request and its whole answer over a socket that may block: asked once, never again."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from substitute.http.answer import Answer
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from substitute.http.answer import Head

_CHUNK = 65536
_BREAKS = frozenset("\r\n\0")


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    head: Head
    body: bytes
    reusable: bool
    """The connection may be asked again."""


def is_target(path: str) -> bool:
    """Whether `path` can stand in a request line."""
    return path.startswith("/") and path.isascii() and path.isprintable() and " " not in path


def request(
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]],
    body: bytes = b"",
    *,
    protocol: str = "HTTP/1.1",
) -> bytes:
    """Return the bytes of a request. Raises ValueError for a header that would be more than one line."""
    lines = [f"{method} {path} {protocol}"]
    for name, value in headers:
        if not _BREAKS.isdisjoint(name + value):
            raise ValueError(f"Invalid header value {value!r}")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def connect(url: str, seconds: float) -> socket.socket:
    """Connect to where `url` leads, with TLS where it says so, within `seconds`. Raises OSError."""
    parts = urlsplit(url)
    secure, host = parts.scheme == "https", parts.hostname or "127.0.0.1"
    connection = socket.create_connection((host, parts.port or (443 if secure else 80)), timeout=seconds)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if secure:
            import ssl  # noqa: PLC0415  # takes longer to import than all the rest

            return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise
    return connection


def hear(connection: socket.socket, answer: Answer, until: float) -> bool:
    """Wait for more of `answer` until that moment of the monotonic clock; return whether it is now whole.

    Raises OSError (TimeoutError where nothing came), and FailedError for what is wrong with the answer.
    """
    connection.settimeout(max(until - time.monotonic(), 0.001))
    data = connection.recv(_CHUNK)
    if data:
        return answer.feed(data)
    answer.end()
    return True


def ask(connection: socket.socket, data: bytes, seconds: float) -> Reply:
    """Send the request `data`, and read the answer to its last byte within `seconds`. Raises as `hear` does."""
    until = time.monotonic() + seconds
    body = bytearray()
    answer = Answer(body.extend)
    connection.settimeout(seconds)
    connection.sendall(data)
    while not hear(connection, answer, until):
        pass
    assert answer.head  # noqa: S101  # it is whole
    reusable = not (answer.head.last or answer.head.until_closed)
    return Reply(answer.head, bytes(body), reusable)


def get(url: str, seconds: float, headers: Mapping[str, str] | None = None) -> Reply:
    """Ask for `url` on a connection of its own, each step within `seconds`. Raises as `hear` does."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    own = {"host": parts.netloc.rpartition("@")[2], "connection": "close"}
    own |= {name.lower(): value for name, value in (headers or {}).items()}
    with connect(url, seconds) as connection:
        return ask(connection, request("GET", path, own.items()), seconds)
