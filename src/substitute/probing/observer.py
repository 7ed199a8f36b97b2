"""Sees how an instance stops: its processes, its port, and raw connections that hold a request half sent."""

from __future__ import annotations

import fcntl
import socket
import sys
import termios
import time
from signal import Signals
from typing import TYPE_CHECKING

from substitute.core.ports.observer import Heard, Hold, Member, Progress
from substitute.http.answer import Answer
from substitute.http.exchange import hear
from substitute.http.exchange import request as request_of
from substitute.http.failures import FailedError
from substitute.linux import listeners, processes, sock_diag
from substitute.linux.sock_diag import State
from substitute.probing import platforms
from substitute.probing.probes import connect
from substitute.probing.requests import merged
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Collection

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.observer import Conversation, Request

_BODY = b'{"from": "substitute check"}'
"""JSON: an app that parses bodies waits for it, whatever the method."""
_CONNECT_TIMEOUT = 1.0
_PATIENCE = 5.0
"""Seconds for a whole answer."""
_CHUNK = 65536
_MOST = 1 << 22
"""Bytes of an answer that are kept; a longer one counts as whole."""
_QUICK = 1 << 20
_ANSWERING = (State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT1, State.FIN_WAIT2, State.LAST_ACK)
"""States of a connection whose other side may still have something to say, or its kernel for it."""


class OutsideObserver:
    """See `core.ports.observer.Observer`."""

    def members(self, endpoint: Endpoint, process: Process, signal: str) -> tuple[Member, ...]:
        """The running processes of an instance: `process`, its group and its descendants."""
        inodes = {listener.inode for listener in listeners.on(endpoint)}
        family = {process.pid} if processes.is_alive(process) else set()
        found = map(processes.identify, sorted(family | processes.family(process)))
        return tuple(_member(one, inodes, Signals[signal]) for one in found if one)

    def refuses(self, endpoint: Endpoint) -> bool:
        """Whether a new connection is refused; where somebody listens, the app is spared a connection."""
        if listeners.on(endpoint):
            return False
        try:
            connect(endpoint, _CONNECT_TIMEOUT).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False

    def lateness(self, endpoint: Endpoint, request: Request) -> float:
        """Beside one whose parts are acknowledged at once; the better one of two each."""
        data = _head(endpoint, request)
        try:
            with connect(endpoint, _CONNECT_TIMEOUT) as connection:
                _seconds(
                    connection, data, promptly=True
                )  # to the first answer on a connection no kernel is slow
                seen = [_seconds(connection, data, promptly=promptly) for promptly in (False, True) * 2]
                return max(min(seen[::2]) - min(seen[1::2]), 0.0)
        except (OSError, FailedError):  # it answers no second request, or too slowly
            return 0.0

    def ask(self, endpoint: Endpoint, request: Request) -> Conversation:
        """Connect and send `request`."""
        try:
            connection = connect(endpoint, _CONNECT_TIMEOUT, slow_reader=request.hold is Hold.READING)
        except OSError as error:
            return _Conversation(None, request.hold, _ending(error))
        conversation = _Conversation(connection, request.hold)
        conversation.send(_head(endpoint, request))
        return conversation


def _member(process: Process, inodes: Collection[int], stop_signal: int) -> Member:
    pid = process.pid
    name, is_title = platforms.called(pid)
    return Member(
        process,
        name,
        listens=not listeners.sockets_of(pid).isdisjoint(inodes),
        platform=platforms.recognize(process),
        parent=processes.parent(pid),
        handles_signal=processes.handles(pid, stop_signal),
        program=processes.program(pid) if is_title else "",
    )


def _head(endpoint: Endpoint, request: Request) -> bytes:
    headers = list(merged(endpoint, request.host, request.headers).items())
    if request.hold is Hold.BODY:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(_BODY)))]
    return request_of(request.method, request.path, headers)


def _seconds(connection: socket.socket, data: bytes, *, promptly: bool) -> float:
    """How long the answer to `data` takes; with `promptly` each part of it is acknowledged at once."""
    began, answer = time.monotonic(), Answer()
    connection.settimeout(_PATIENCE)
    connection.sendall(data)
    if promptly:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    while not hear(connection, answer, began + _PATIENCE):
        pass
    return time.monotonic() - began


class _Conversation:
    """See `core.ports.observer.Conversation`."""

    def __init__(self, connection: socket.socket | None, hold: Hold, closed: str = "") -> None:
        self._connection = connection
        self._hold = hold
        self._answer: Answer | None = Answer()
        """None where what came is no answer."""
        self._received = 0
        self._heard = Heard(closed=closed)
        if connection:
            connection.setblocking(False)  # noqa: FBT003

    def send(self, data: bytes) -> None:
        """Send `data`: it is little, and the connection's buffer takes it at once."""
        if self._connection is None:
            return
        try:
            self._connection.send(data)
        except OSError as error:
            self._end(_ending(error))

    def go_on(self) -> None:
        """Do once what was held back: send the body, or read the answer."""
        held, self._hold = self._hold, Hold.NOTHING
        if held is Hold.BODY:
            self.send(_BODY)
        elif held is Hold.READING and self._connection:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUICK)

    def progress(self) -> Progress:
        """Count what this side has read, and what the kernel has of the answer on either side."""
        if self._connection is None:
            return Progress(handed_over=self._received)
        try:
            here, there = self._connection.getsockname()[:2], self._connection.getpeername()[:2]
            waiting = int.from_bytes(fcntl.ioctl(self._connection, termios.FIONREAD, bytes(4)), sys.byteorder)
            for one in sock_diag.sockets(there[1], _ANSWERING):
                if (one.remote.host, one.remote.port) == here:
                    accepted = one.inode != 0 or one.state is not State.ESTABLISHED
                    return Progress(accepted, self._received + waiting + one.unacknowledged)
        except OSError:
            pass
        return Progress()

    def hear(self) -> Heard:
        """Take what has come, without waiting."""
        while self._connection is not None and self._hold is not Hold.READING:
            try:
                data = self._connection.recv(_CHUNK)
                if not data:
                    self._end("closed")
            except BlockingIOError:
                break
            except OSError as error:
                self._end(_ending(error))
                data = b""
            self._received += len(data)
            self._read(data)
        return self._heard

    def close(self) -> None:
        """Close it; what was heard stays so."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _end(self, how: str) -> None:
        self.close()
        self._heard = replace(self._heard, closed=how)

    def _read(self, data: bytes) -> None:
        """Understand what came; nothing at all is the end of the connection."""
        answer = self._answer
        if answer is None or self._heard.status is not None:
            return
        try:
            if data:
                answer.feed(data)
            else:
                answer.end()
        except FailedError:
            self._answer = None
        head = answer.head
        if head and (answer.whole or (head.until_closed and self._received >= _MOST)):
            self._heard = replace(self._heard, status=head.status, size=self._received)


def _ending(error: OSError) -> str:
    return "refused" if isinstance(error, ConnectionRefusedError) else "reset"
