"""Messages to and from the kernel: netlink(7)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
BUFFER = 1 << 18


def send(kernel: socket.socket, kind: int, flags: int, body: bytes) -> None:
    """Send one message."""
    kernel.sendto(_HEADER.pack(_HEADER.size + len(body), kind, flags | REQUEST, 1, 0) + body, (0, 0))


def dumped(kernel: socket.socket) -> Iterator[tuple[int, memoryview]]:
    """Yield the kind and the body of each message of a dump that was asked for. Raises OSError where there is none."""
    while True:
        answers = memoryview(kernel.recv(BUFFER))
        while answers:
            length, kind, *_ = _HEADER.unpack_from(answers)
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError("the kernel has no such list")
            yield kind, answers[_HEADER.size : length]
            answers = answers[(length + 3) & ~3 :]
