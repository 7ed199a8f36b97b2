"""Calls to supervisord: XML-RPC over its unix socket, one a connection.

Imported with the first call: where systemd keeps everything nobody is called.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from substitute.core.polling import wait_while
from substitute.linux.processes import identify, is_stopped
from substitute.runtimes.supervisord.refusals import PATIENCE, Absent, Fault, Silent
from substitute.runtimes.supervisord.xml import parse_answer, render_call

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.model.programs import Process

_TICK = 0.01
_MOMENT = 1.0
"""Seconds that one may be stopped: a debugger stops it for less."""
_SHUTTING_DOWN = 6
_CHUNK = 1 << 16
_CREDENTIALS = struct.Struct("3i")


class _Connection:
    """One call, in HTTP/1.0: the end of the connection is the end of the answer."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(patience)
        self.listener: Process | None = None

    def connect(self, run_directory: Path) -> None:
        # Through a descriptor of its directory: the path itself may be longer than a socket's can be.
        descriptor = os.open(run_directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._socket.connect(f"/proc/self/fd/{descriptor}/supervisord.sock")
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise Absent(str(error)) from error
        finally:
            os.close(descriptor)
        # Known also of one that does not accept: the kernel noted who called listen().
        pid, _, _ = _CREDENTIALS.unpack(
            self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        self.listener = identify(pid) if pid else None
        self._require_moving()

    def _require_moving(self) -> None:
        """Raise Silent where it is stopped and is not let go on within a moment: it would be told in vain."""
        moment = min(self._patience, _MOMENT)
        if wait_while(lambda: self.listener and is_stopped(self.listener.pid), moment, _TICK):
            raise Silent(self.listener, f"it does not go on within {moment:g}s")

    def ask(self, body: bytes) -> bytes:
        """The body of the answer. Raises OSError, also where it is not whole."""
        head = f"POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        data = b""
        while more := self._socket.recv(_CHUNK):
            data += more
        head_said, _, said = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)^content-length: *([0-9]+)", head_said, re.MULTILINE)
        if not length or len(said) != int(length[1]):
            raise ConnectionResetError(f"it closed the connection after {len(data)} bytes")
        return said

    def close(self) -> None:
        self._socket.close()


def call(run_directory: Path, method: str, *arguments: str | bool, patience: float = PATIENCE) -> Any:
    """Call `method`. Raises `Fault`, `Absent` and `Silent`.

    A connection that breaks off is tried again: most often its listener has just died, and the next one is refused.
    """
    body = render_call(method, arguments)
    deadline = time.monotonic() + patience
    while True:
        connection = _Connection(patience)
        try:
            connection.connect(run_directory)
            return parse_answer(connection.ask(body))
        except TimeoutError as error:
            raise Silent(connection.listener, f"no answer within {patience:g}s") from error
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise Silent(connection.listener, str(error) or type(error).__name__) from error
            time.sleep(_TICK)
        except Fault as fault:
            if fault.code == _SHUTTING_DOWN:
                raise Silent(connection.listener, "it is shutting down") from fault
            raise
        finally:
            connection.close()
