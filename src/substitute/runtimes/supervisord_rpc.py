"""Calls to supervisord: XML-RPC over its unix socket."""

from __future__ import annotations

import http.client
import os
import socket
from typing import TYPE_CHECKING, Any
from xmlrpc.client import dumps, loads

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT = 10.0


class Silent(Exception):  # noqa: N818
    """Nobody answers on the socket."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, run_directory: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._run = run_directory

    def connect(self) -> None:
        # Through a descriptor of its directory: the path itself may be longer than a socket's can be.
        descriptor = os.open(self._run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{descriptor}/supervisord.sock")
        finally:
            os.close(descriptor)


def call(run_directory: Path, method: str, *arguments: object) -> Any:
    """Call `method`. Raises `xmlrpc.client.Fault` for a refusal and `Silent` where nobody answers."""
    body = dumps(arguments, methodname=method).encode()  # type: ignore[arg-type]
    connection = _Connection(run_directory)
    try:
        connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
        answer = connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        raise Silent(str(error)) from error
    finally:
        connection.close()
    (result,), _ = loads(answer)
    return result
