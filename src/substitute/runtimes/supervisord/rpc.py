"""Calls to supervisord: XML-RPC over its unix socket.

Imported with the first call: XML, HTTP and TLS take long, and where systemd keeps everything nobody is called.
"""

from __future__ import annotations

import http.client
import os
import socket
import struct
import time
import xmlrpc.client
from typing import TYPE_CHECKING, Any

from substitute.linux.processes import identify, is_stopped
from substitute.runtimes.supervisord.refusals import PATIENCE, Absent, Fault, Silent

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.model.programs import Process

_TICK = 0.01
_MOMENT = 1.0
"""Seconds that one may be stopped: a debugger stops it for less."""
_SHUTTING_DOWN = 6
_CREDENTIALS = struct.Struct("3i")


class _Connection(http.client.HTTPConnection):
    def __init__(self, run_directory: Path, patience: float) -> None:
        super().__init__("localhost", timeout=patience)
        self._run = run_directory
        self.listener: Process | None = None

    def connect(self) -> None:
        # Through a descriptor of its directory: the path itself may be longer than a socket's can be.
        descriptor = os.open(self._run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{descriptor}/supervisord.sock")
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise Absent(str(error)) from error
        finally:
            os.close(descriptor)
        # Known also of one that does not accept: the kernel noted who called listen().
        pid, _, _ = _CREDENTIALS.unpack(
            self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        self.listener = identify(pid) if pid else None
        self._require_moving()

    def _require_moving(self) -> None:
        """Raise Silent where it is stopped and is not let go on within a moment: it would be told in vain."""
        moment = min(self.timeout or _MOMENT, _MOMENT)
        deadline = time.monotonic() + moment
        while self.listener and is_stopped(self.listener.pid):
            if time.monotonic() >= deadline:
                raise Silent(self.listener, f"it does not go on within {moment:g}s")
            time.sleep(_TICK)


def call(run_directory: Path, method: str, *arguments: object, patience: float = PATIENCE) -> Any:
    """Call `method`. Raises `Fault`, `Absent` and `Silent`.

    A connection that breaks off is tried again: most often its listener has just died, and the next one is refused.
    """
    body = xmlrpc.client.dumps(arguments, methodname=method).encode()  # type: ignore[arg-type]
    deadline = time.monotonic() + patience
    while True:
        connection = _Connection(run_directory, patience)
        try:
            connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
            (result,), _ = xmlrpc.client.loads(connection.getresponse().read())
        except TimeoutError as error:
            raise Silent(connection.listener, f"no answer within {patience:g}s") from error
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > deadline:
                raise Silent(connection.listener, str(error) or type(error).__name__) from error
            time.sleep(_TICK)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _SHUTTING_DOWN:
                raise Silent(connection.listener, "it is shutting down") from fault
            raise Fault(fault.faultCode, fault.faultString) from fault
        else:
            return result
        finally:
            connection.close()
