"""Connections that stay: WebSockets and event streams. A server may end one properly; cutting it is a failure."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import time
from typing import TYPE_CHECKING

from substitute.drill.answer import Answer
from substitute.drill.failures import FailedError, Kind, from_status
from substitute.drill.load import LaneName
from substitute.drill.wire import Wire

if TYPE_CHECKING:
    from substitute.drill.load import Load
    from substitute.drill.reactor import Reactor
    from substitute.drill.recorder import Recorder
    from substitute.drill.wire import Target

_AGAIN = 0.25
"""Seconds until a stream that ended is opened again, as a browser would."""
_HEARTBEAT = 1.0
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE, _PING, _PONG = 8, 9, 10


class Stream:
    """One place for a stream, opened again whenever it ends, until `end`."""

    name: LaneName

    def __init__(self, load: Load, target: Target, reactor: Reactor, recorder: Recorder) -> None:
        self._load = load
        self._target = target
        self._reactor = reactor
        self._recorder = recorder
        self._wire: Wire | None = None
        self._answer: Answer | None = None
        self._version: str | None = None
        self._awaited: float | None = None
        """Since when something must come: the head of the answer, or a pong."""
        self._began = 0.0
        self._over = False
        reactor.at(time.monotonic(), self._begin)

    def sweep(self, now: float) -> None:
        """Give up a stream that owes something for too long."""
        if self._awaited is not None and now - self._awaited > self._load.timeout:
            self.broken(FailedError(Kind.TIMEOUT, f"silent for {self._load.timeout:g}s"))

    def end(self) -> None:
        """Leave properly, and do not come back."""
        self._over = True
        if self._wire:
            self.say_goodbye()
            self._close()

    def ended(self) -> None:
        """The server closed the connection."""
        self._wire = None
        try:
            self.check_end()
        except FailedError as failure:
            self.broken(failure)
        else:
            self._finish()

    def broken(self, failure: FailedError) -> None:
        """It was cut, or could not be opened."""
        self._close()
        self._recorder.failed(self.name, self._began, time.monotonic(), failure, self._version)
        self._reactor.at(time.monotonic() + _AGAIN, self._begin)

    def received(self, data: bytes) -> None:
        """Something came."""
        try:
            self.take(data)
        except FailedError as failure:
            self.broken(failure)

    def take(self, data: bytes) -> None:
        """Understand what came. Raises FailedError for what is wrong."""
        raise NotImplementedError

    def check_end(self) -> None:
        """Raise FailedError where the connection may not be closed now."""
        raise NotImplementedError

    def say_goodbye(self) -> None:
        """Send what is polite before leaving."""

    def extra(self) -> tuple[tuple[str, str], ...]:
        """Headers of the request that opens it."""
        return ()

    def check_head(self, answer: Answer, wanted: int) -> None:
        """See that it was opened. Raises FailedError where it was not."""
        head = answer.head
        if head is None or self._awaited is None:
            return
        if failure := from_status(head.status):
            raise failure
        if head.status != wanted:
            raise FailedError(Kind.BODY, f"status {head.status} where {wanted} opens a stream")
        self._awaited = None
        self._version = head.headers.get(self._load.version_header.lower()) or None
        self._recorder.count(f"{self.name} opened")

    def _begin(self) -> None:
        if self._over:
            return
        self._began = self._awaited = time.monotonic()
        self._version = None
        self._recorder.count(f"{self.name} tried")
        try:
            self._wire = Wire(self._reactor, self._target, self)
            self._wire.write(self._load.request(self.name, self.extra()))
        except FailedError as failure:
            self.broken(failure)

    def _finish(self) -> None:
        self._close()
        self._recorder.count(f"{self.name} ended by the server")
        self._reactor.at(time.monotonic() + _AGAIN, self._begin)

    def _close(self) -> None:
        self._awaited = None
        if self._wire:
            self._wire.close()
            self._wire = None


class EventStream(Stream):
    """Server-sent events: an answer that goes on. Its end, where HTTP says one, is proper."""

    name = LaneName.SSE

    def extra(self) -> tuple[tuple[str, str], ...]:
        """What EventSource sends."""
        self._answer = Answer(self._count)
        return (("Accept", "text/event-stream"),)

    def take(self, data: bytes) -> None:
        """Part of the answer."""
        if self._answer and self._answer.feed(data):
            self.check_head(self._answer, 200)
            self._finish()
        elif self._answer:
            self.check_head(self._answer, 200)

    def check_end(self) -> None:
        """Fine where nothing but the end of the connection ends the answer."""
        if self._answer:
            self._answer.end()

    def _count(self, data: bytes) -> None:
        for _ in range(data.count(b"\n\n")):
            self._recorder.count("sse events")


class WebSocket(Stream):
    """A WebSocket (RFC 6455) that pings once a second; every server must answer that. Its end is a Close frame."""

    name = LaneName.WEBSOCKET

    def extra(self) -> tuple[tuple[str, str], ...]:
        """The handshake."""
        self._answer = Answer()
        self._frames = b""
        key = base64.b64encode(os.urandom(16))
        # Not a secret: RFC 6455 has the server prove with SHA-1 that it speaks WebSocket.
        digest = hashlib.sha1(key + _MAGIC, usedforsecurity=False).digest()
        self._accept = base64.b64encode(digest).decode()
        return (
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", key.decode()),
        )

    def take(self, data: bytes) -> None:
        """Part of the handshake, or of frames."""
        if self._answer is not None:
            self._handshake(self._answer, data)
        else:
            self._frames += data
        while self._answer is None and self._wire and self._frame():
            pass

    def check_end(self) -> None:
        """A WebSocket may not end without a Close frame; that is 1006 in a browser."""
        raise FailedError(Kind.CLOSED, "closed without a Close frame")

    def say_goodbye(self) -> None:
        """1001, going away."""
        if self._answer is None:
            self._send(_CLOSE, struct.pack("!H", 1001))

    def _handshake(self, answer: Answer, data: bytes) -> None:
        self._frames += data
        head, end, rest = self._frames.partition(b"\r\n\r\n")
        if not end:
            return
        answer.feed(head + end)
        if answer.head is None:
            self._frames = rest
            return
        self.check_head(answer, 101)
        if answer.head.headers.get("sec-websocket-accept") != self._accept:
            raise FailedError(Kind.BODY, "Sec-WebSocket-Accept is not the right one")
        self._answer, self._frames = None, rest
        self._beat(self._wire)

    def _beat(self, wire: Wire | None) -> None:
        """Ping now, and again in a while, as long as it is the same connection."""
        if wire is None or self._wire is not wire:
            return
        if self._awaited is None:
            self._awaited = time.monotonic()
        self._send(_PING, b"drill")
        self._reactor.at(time.monotonic() + _HEARTBEAT, lambda: self._beat(wire))

    def _frame(self) -> bool:
        """Take one whole frame; false where there is none yet."""
        data = self._frames
        if len(data) < 2:
            return False
        opcode, length, start = data[0] & 0x0F, data[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(data) < start:
                return False
            length = int.from_bytes(data[2:start], "big")
        if data[1] & 0x80:
            raise FailedError(Kind.BODY, "a masked frame from a server")
        if len(data) < start + length:
            return False
        payload, self._frames = data[start : start + length], data[start + length :]
        self._understand(opcode, payload)
        return True

    def _understand(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._send(_PONG, payload)
        elif opcode == _PONG:
            self._awaited = None
            self._recorder.count("websocket pongs")
        elif opcode == _CLOSE:
            self._send(_CLOSE, payload[:2])
            self._finish()
        else:
            self._recorder.count("websocket messages")

    def _send(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        if self._wire:
            self._wire.write(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)
