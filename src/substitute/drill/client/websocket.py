"""WebSockets (RFC 6455), as a client that notices everything."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
import time
from typing import TYPE_CHECKING

from substitute.drill.client.streams import Stream
from substitute.drill.load import LaneName
from substitute.http.answer import Answer
from substitute.http.failures import FailedError, Kind

if TYPE_CHECKING:
    from substitute.drill.client.wire import Wire

_HEARTBEAT = 1.0
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE, _PING, _PONG = 8, 9, 10


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
