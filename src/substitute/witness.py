"""Sees how an instance stops: its processes, its port, and raw connections that hold a request half sent."""

from __future__ import annotations

import http.client
import io
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from substitute import listeners, platforms, processes
from substitute.core.ports import Heard, Member
from substitute.probes import connect, sockets_of

if TYPE_CHECKING:
    import socket

    from substitute.core.apps import Health
    from substitute.core.ports import Conversation, Process
    from substitute.core.slots import Endpoint

_BODY = b'{"from": "substitute check"}'
"""JSON: an app that parses bodies waits for it, whatever the method."""
_CONNECT_TIMEOUT = 1.0
_CHUNK = 65536
_MOST = 1 << 22
"""Bytes of an answer that are kept; a longer one counts as whole."""


class Bystander:
    """See `core.ports.Witness`."""

    def members(self, endpoint: Endpoint, process: Process) -> tuple[Member, ...]:
        """The running processes of an instance: `process`, its group and its descendants."""
        inodes = {listener.inode for listener in listeners.on(endpoint)}
        family = {process.pid} if processes.is_alive(process) else set()
        if family:
            family |= processes.descendants(process.pid)
        family |= processes.group_of(process)
        found = ((processes.identify(pid), pid) for pid in sorted(family))
        return tuple(
            Member(one, processes.name(pid), bool(inodes & sockets_of(pid)), platforms.recognize(one))
            for one, pid in found
            if one
        )

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

    def ask(self, endpoint: Endpoint, health: Health, *, method: str, hold_body: bool) -> Conversation:
        """Connect and send a request to the path of the health check."""
        head = _head(endpoint, health, method, len(_BODY) if hold_body else None)
        try:
            connection = connect(endpoint, _CONNECT_TIMEOUT)
        except OSError as error:
            return _Request(None, _ending(error))
        request = _Request(connection)
        request.send(head)
        return request


def _head(endpoint: Endpoint, health: Health, method: str, length: int | None) -> bytes:
    lines = [f"{method} {health.path} HTTP/1.1", f"Host: {health.host or endpoint}"]
    lines += ["User-Agent: substitute", "Accept: */*"]
    if length is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


class _Request:
    """See `core.ports.Conversation`."""

    def __init__(self, connection: socket.socket | None, closed: str = "") -> None:
        self._connection = connection
        self._body: bytes = _BODY
        self._data = b""
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

    def send_body(self) -> None:
        """Send it, once."""
        body, self._body = self._body, b""
        if body:
            self.send(body)

    def hear(self) -> Heard:
        """Take what has come, without waiting."""
        while self._connection is not None:
            try:
                data = self._connection.recv(_CHUNK)
            except BlockingIOError:
                break
            except OSError as error:
                self._end(_ending(error))
                break
            if not data:
                self._end("closed")
                break
            self._data += data
        if self._heard.status is None:
            self._heard = Heard(_status(self._data, ended=bool(self._heard.closed)), self._heard.closed)
        return self._heard

    def close(self) -> None:
        """Close it; what was heard stays so."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _end(self, how: str) -> None:
        self.close()
        self._heard = Heard(self._heard.status, how)


def _ending(error: OSError) -> str:
    return "refused" if isinstance(error, ConnectionRefusedError) else "reset"


class _Bytes:
    """What http.client wants of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _status(data: bytes, *, ended: bool) -> int | None:
    """The status of the answer in `data`, where all of it is there; `ended`: nothing more will come."""
    while data.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")) and b"\r\n\r\n" in data:
        data = data.partition(b"\r\n\r\n")[2]  # an interim answer
    if b"\r\n\r\n" not in data:
        return None
    response = http.client.HTTPResponse(cast("socket.socket", _Bytes(data)))
    with suppress(http.client.HTTPException, ValueError):
        response.begin()
        response.read()
        # http.client takes the end of the data for the last line of a chunked answer.
        if response.chunked and not data.endswith(b"\r\n\r\n"):
            return None
        until_the_end = response.length is None and not response.chunked and response.will_close
        if ended or not until_the_end or len(data) >= _MOST:
            return response.status
    return None
