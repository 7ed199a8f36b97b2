"""A client of WebSockets (RFC 6455, short frames only)."""

from __future__ import annotations

import base64
import os
import socket
from contextlib import suppress

_TEXT, _CLOSE = 1, 8


class WebSocket:
    """A client that sends a short text and reads the short text that comes back."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._exactly(1)
        assert b" 101 " in head.partition(b"\r\n")[0], head

    def ask(self, text: str) -> str:
        self._send(_TEXT, text.encode())
        kind, answer = self._frame()
        assert kind == _TEXT, f"a frame of kind {kind}"
        return answer.decode()

    def leave(self) -> None:
        """Close it as both sides should: a Close frame, answered by one, and nothing after it."""
        self._send(_CLOSE, b"\x03\xe8")
        assert self._frame() == (_CLOSE, b"\x03\xe8")
        assert self._socket.recv(1) == b""

    def close(self) -> None:
        self._socket.close()

    def is_cut(self) -> bool:
        """Wait until the other side says or does something: whether it closed the connection without a word."""
        said = b""
        with suppress(ConnectionResetError):
            said = self._socket.recv(1)
        return not said

    def _send(self, kind: int, data: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self._socket.sendall(bytes([0x80 | kind, 0x80 | len(data)]) + mask + masked)

    def _frame(self) -> tuple[int, bytes]:
        kind, length = self._exactly(2)
        return kind & 0x0F, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            assert more, "the connection was closed"
            data += more
        return data
