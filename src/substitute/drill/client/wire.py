"""One connection that never waits: opened, written and read as the reactor says; plain or TLS."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from substitute.drill.client.reactor import READ, WRITE
from substitute.http.failures import FailedError, Kind, from_system

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.drill.client.reactor import Reactor
    from substitute.drill.load import Load

_CHUNK = 262144


class Owner(Protocol):
    """Who is told what becomes of a connection. After `ended` or `broken` it is closed, and no more is told."""

    def received(self, data: bytes) -> None:
        """Some bytes came."""

    def ended(self) -> None:
        """The server will send no more."""

    def broken(self, failure: FailedError) -> None:
        """The connection is gone."""


@dataclass(frozen=True)
class Target:
    """Where connections go: an address that was looked up once."""

    family: int
    address: tuple[object, ...]
    name: str
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, load: Load) -> Target:
        """Look the host of the URL up. Raises OSError where it has no address."""
        parts = urlsplit(load.url)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        context = ssl.create_default_context() if secure else None
        if context and load.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return cls(family, address, host, context)


class Wire:
    """A connection to `target`. What is written before it is open waits for that."""

    def __init__(self, reactor: Reactor, target: Target, owner: Owner) -> None:
        """Begin to connect. Raises FailedError where that fails at once."""
        self._reactor = reactor
        self._target = target
        self._owner = owner
        self._out = b""
        self._open = self._closed = self._waits_to_write = False
        try:
            self._socket = socket.socket(target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise from_system(error, connected=False) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = self._socket.connect_ex(target.address)
        if number not in {0, errno.EINPROGRESS}:
            self._socket.close()
            raise from_system(OSError(number, os.strerror(number)), connected=False)
        self._descriptor = self._socket.fileno()
        reactor.watch(self._descriptor, READ | WRITE, self._ready)

    def write(self, data: bytes) -> None:
        """Send `data` as soon as it may be sent."""
        self._out += data
        if self._open:
            self._guard(self._flush)

    def close(self) -> None:
        """Close it; nobody is told."""
        if not self._closed:
            self._closed = True
            self._reactor.forget(self._descriptor)
            self._socket.close()

    def _ready(self, events: int) -> None:
        if not self._open:
            self._guard(self._connect)
        if self._open and self._out and events & WRITE:
            self._guard(self._flush)
        if self._open and not self._closed and events & ~WRITE:
            self._guard(self._read)

    def _guard(self, step: Callable[[], None]) -> None:
        """Do `step`; tell the owner if the connection broke in it."""
        try:
            step()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except ssl.SSLError as error:
            self._break(
                FailedError(Kind.RESET if self._open else Kind.REFUSED, f"TLS: {error.reason or error}")
            )
        except OSError as error:
            self._break(from_system(error, connected=self._open))

    def _break(self, failure: FailedError) -> None:
        self.close()
        self._owner.broken(failure)

    def _connect(self) -> None:
        if number := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, os.strerror(number))
        if self._target.tls:
            self._shake_hands(self._target.tls)
        self._open = True
        self._reactor.change(self._descriptor, READ)
        self._flush()

    def _shake_hands(self, context: ssl.SSLContext) -> None:
        if not isinstance(self._socket, ssl.SSLSocket):
            # Wrapping keeps the descriptor, and with it the epoll's registration.
            self._socket = context.wrap_socket(
                self._socket, server_hostname=self._target.name, do_handshake_on_connect=False
            )
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._reactor.change(self._descriptor, READ)
            raise
        except ssl.SSLWantWriteError:
            self._reactor.change(self._descriptor, READ | WRITE)
            raise

    def _flush(self) -> None:
        if not self._out:
            return
        with suppress(BlockingIOError, ssl.SSLWantWriteError):
            self._out = self._out[self._socket.send(self._out) :]
        if bool(self._out) != self._waits_to_write:
            self._waits_to_write = bool(self._out)
            self._reactor.change(self._descriptor, READ | WRITE if self._out else READ)

    def _read(self) -> None:
        while not self._closed:
            data = self._socket.recv(_CHUNK)
            if not data:
                self.close()
                self._owner.ended()
                return
            self._owner.received(data)
            if not self._target.tls:  # what TLS has read ahead, epoll cannot see
                return
