"""Calls to a systemd manager: D-Bus on the manager's own socket, so that no bus daemon need run."""

from __future__ import annotations

import os
import select
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jeepney import DBusAddress, HeaderFields, MessageType, Parser, new_method_call

from substitute.core.model.errors import RuntimeFailedError
from substitute.linux.init_system import run_directory

if TYPE_CHECKING:
    from jeepney import Message

_NAME, _PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_GREETING = b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"
"""Who asks is known by the socket."""
_ANSWERS = 3
"""Lines of the answer; none comes to the last one."""
_TIMEOUT = 30.0
_PATIENCE = 10.0
"""Seconds in which a manager that executes itself anew (an upgrade of systemd) listens again: it takes less than one,
and more where the machine has much else to do."""
_TICK = 0.01


class Silent(RuntimeFailedError):  # noqa: N818
    """The manager is there and does not answer: what it keeps is not known."""


class Gone(Silent):
    """There is no manager, and so nothing that it keeps."""


class Refused(RuntimeFailedError):  # noqa: N818
    """The manager says no."""


def address_of(*, user: bool) -> str:
    """Where the manager listens: the system's, or that of the user who asks."""
    return str((run_directory(os.geteuid()) if user else Path("/run")) / "systemd" / "private")


class Bus:
    """One connection, made at the first call, and made again where the manager closed it (it executed itself anew)."""

    def __init__(self, address: str, *, cure: str = "", patience: float = _PATIENCE) -> None:
        """`cure` is what may help where nobody answers; `patience` how many seconds somebody is waited for."""
        self._address = address
        self._cure = cure
        self._patience = patience
        self._socket: socket.socket | None = None
        self._parser = Parser()
        self._serial = 0

    def __del__(self) -> None:
        self._close()

    def call(self, method: str, signature: str = "", *arguments: object) -> Any:
        """Call a method of the manager; its first result. Raises Silent and Refused."""
        return self._ask(_PATH, f"{_NAME}.Manager", method, signature, arguments)

    def manager_property(self, name: str) -> Any:
        """One property of the manager itself."""
        return self._ask(_PATH, _PROPERTIES, "Get", "ss", (f"{_NAME}.Manager", name))[1]

    def properties(self, unit: str, kind: str) -> dict[str, Any]:
        """All of them at one moment."""
        found = self._ask(_object(unit), _PROPERTIES, "GetAll", "s", (f"{_NAME}.{kind}",))
        return {name: value for name, (_, value) in found.items()}

    def property(self, unit: str, kind: str, name: str) -> Any:
        """One property of a unit; `kind` is ``Unit`` or ``Service``. An unknown unit has those of one at rest."""
        return self._ask(_object(unit), _PROPERTIES, "Get", "ss", (f"{_NAME}.{kind}", name))[1]

    def _ask(
        self, path: str, interface: str, method: str, signature: str, arguments: tuple[object, ...]
    ) -> Any:
        message = new_method_call(DBusAddress(path, _NAME, interface), method, signature or None, arguments)
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._exchange(message)
            except TimeoutError as error:
                self._close()
                raise Silent("systemd does not answer.", fact=self._seen(error), cure=self._cure) from error
            except (OSError, EOFError) as error:
                # Its process ended, before the call or in its middle: every call may be made once more.
                self._close()
                if time.monotonic() > deadline:
                    self._patience = 0.0  # who has waited once need not do so with each question
                    raise Gone("No systemd answers.", fact=self._seen(error), cure=self._cure) from error
            time.sleep(_TICK)

    def _seen(self, error: Exception) -> str:
        return f"{self._address}: {error}."

    def _exchange(self, message: Message) -> Any:
        connection = self._connected()
        self._serial += 1
        connection.sendall(message.serialise(serial=self._serial))
        deadline = time.monotonic() + _TIMEOUT
        while True:
            answer = self._receive(connection, deadline)
            if answer.header.fields.get(HeaderFields.reply_serial) != self._serial:
                continue  # a signal, which nobody waits for
            if answer.header.message_type is MessageType.error:
                raise Refused(
                    "systemd refuses.", fact=str(answer.body[0] if answer.body else "It gives no reason.")
                )
            return answer.body[0] if answer.body else None

    def _receive(self, connection: socket.socket, deadline: float) -> Message:
        while (message := self._parser.get_next_message()) is None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([connection], [], [], left)[0]:
                raise TimeoutError("the manager does not answer")
            data = connection.recv(1 << 16)
            if not data:
                raise EOFError("the manager closed the connection")
            self._parser.add_data(data)
        return message

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket, rest = _connect(self._address)
            self._parser = Parser()
            self._parser.add_data(rest)
        return self._socket

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connect(address: str) -> tuple[socket.socket, bytes]:
    """Connect and authenticate; what came after that already, a signal perhaps, is returned. Raises OSError, EOFError.

    All of it at once, as systemd's own programs do: where a first call comes in one piece with the end of the
    authentication, the manager does not look at it before it gets another.
    """
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_TIMEOUT)
    try:
        connection.connect(address)
        connection.sendall(_GREETING)
        answer = b""
        while answer.count(b"\r\n") < _ANSWERS:
            data = connection.recv(256)
            if not data:
                raise EOFError("the manager lets nobody in")
            answer += data
    except BaseException:
        connection.close()
        raise
    return connection, answer.split(b"\r\n", _ANSWERS)[_ANSWERS]


def _object(unit: str) -> str:
    """The object that is `unit`. D-Bus allows letters, digits and _ in its name; the rest is written in hex."""
    encoded = (
        chr(b) if chr(b).isalnum() and b < 128 and not (at == 0 and chr(b).isdigit()) else f"_{b:02x}"
        for at, b in enumerate(unit.encode())
    )
    return f"{_PATH}/unit/{''.join(encoded)}"
