"""HAProxy's runtime API on its two unix sockets: the worker's, and the master's."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.balancers.haproxy import answers
from substitute.balancers.haproxy.configuration import MAP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from substitute.balancers.haproxy.file import Servers

WORKER, MASTER = "haproxy.sock", "haproxy-master.sock"
_TIMEOUT = 5.0
_ATTEMPTS = 5
_PAUSE = 0.02


class Silent(Exception):  # noqa: N818
    """No answer came: it ended, or was replaced, before it came to our turn."""


class Absent(Silent):
    """Nobody listens on the socket. Only this means that nobody is there."""


class Hung(Silent):
    """Somebody listens there and says nothing: it is stopped, or works on something else."""


def ask(run_directory: Path, name: str, *commands: str, patience: float | None = None) -> str:
    """Send commands in one connection; their answers, one after the other. Raises `Silent`."""
    answer = _exchange(run_directory, name, ";".join(commands), patience or _TIMEOUT)
    if not answer:
        raise Silent("the connection was closed without an answer")
    return answer


def reload(run_directory: Path) -> None:
    """Have the master read its file again. It may hang up instead of answering, so nothing is returned."""
    with suppress(Silent):
        _exchange(run_directory, MASTER, "reload", _TIMEOUT)


def description(run_directory: Path, *, patience: float | None = None) -> str:
    """The `description` of the worker's configuration. Raises `Silent`."""
    return answers.description(ask(run_directory, WORKER, "show info", patience=patience))


def weigh(run_directory: Path, wanted: Servers) -> str | None:
    """Set the weights and addresses that differ.

    None where all are read back as wanted, else what it said. Raises `Silent`.
    """
    now = _servers(run_directory)
    different = [(key, *server) for key, server in wanted.items() if not _obeys(now.get(key), *server)]
    if not different:
        return None
    # Those that gain first: the last ready one is never out.
    different.sort(key=lambda change: _weight(now.get(change[0])) - change[2])
    said = ask(run_directory, WORKER, *(_command(*change, now.get(change[0])) for change in different))
    now = _servers(run_directory)
    return None if all(_obeys(now.get(key), *server) for key, server in wanted.items()) else said.strip()


def lead(run_directory: Path, wanted: Mapping[str, str]) -> str | None:
    """Set which app each host name leads to. Returns and raises as `weigh` does."""
    now = answers.map_entries(ask(run_directory, WORKER, f"show map {MAP}"))
    if now == wanted:
        return None
    new = [f"add map {MAP} {host} {app}" for host, app in wanted.items() if host not in now]
    other = [f"set map {MAP} {host} {app}" for host, app in wanted.items() if now.get(host, app) != app]
    gone = [f"del map {MAP} {host}" for host in now if host not in wanted]
    said = ask(run_directory, WORKER, *new, *other, *gone)
    now = answers.map_entries(ask(run_directory, WORKER, f"show map {MAP}"))
    return None if now == wanted else said.strip()


def closing(servers: Iterable[answers.Key]) -> list[str]:
    """Commands that close the unused connections to `servers`: a server that enters maintenance loses them."""
    return [f"set server {'/'.join(key)} state {state}" for key in servers for state in ("maint", "ready")]


def unused_for(run_directory: Path, backend: str) -> int:
    """Seconds since somebody last came to `backend`, or since its worker began. Raises `Silent`."""
    return answers.unused_for(ask(run_directory, WORKER, "show info", "show stat -1 2 -1"), backend)


def processes(run_directory: Path, name: str = MASTER) -> answers.Processes | None:
    """The master's own account, or None where no master is. Raises `Hung`."""
    for _ in range(_ATTEMPTS):
        try:
            return answers.processes(ask(run_directory, name, "show proc"))
        except Hung:
            raise
        except Silent:
            time.sleep(_PAUSE)  # in the middle of a reload it hangs up on everybody
    return None


def _servers(run_directory: Path) -> dict[answers.Key, answers.ServerState]:
    return answers.servers(ask(run_directory, WORKER, "show servers state"))


def _obeys(server: answers.ServerState | None, address: str, weight: int) -> bool:
    return (
        server is not None and str(server.endpoint) == address and server.weight == weight and server.admitted
    )


def _weight(server: answers.ServerState | None) -> int:
    return server.weight if server else 0


def _command(key: answers.Key, address: str, weight: int, now: answers.ServerState | None) -> str:
    server = "/".join(key)
    commands = []
    if now and str(now.endpoint) != address:
        host, _, port = address.rpartition(":")
        commands.append(f"set server {server} addr {host.strip('[]')} port {port}")
    if now and not now.admitted:
        commands.append(f"set server {server} state ready")
    return ";".join([*commands, f"set server {server} weight {weight}"])


def _exchange(run_directory: Path, name: str, line: str, patience: float) -> str:
    try:
        # Through a descriptor of its directory: the path itself may be longer than a socket's can be.
        descriptor = os.open(run_directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(patience)
                connection.connect(f"/proc/self/fd/{descriptor}/{name}")
                connection.sendall(line.encode() + b"\n")
                connection.shutdown(socket.SHUT_WR)  # else the master of 2.8 keeps the connection open
                answer = b""
                while data := connection.recv(65536):
                    answer += data
                return answer.decode(errors="replace")
        finally:
            os.close(descriptor)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise Absent(f"Nobody listens on {run_directory / name}.") from error
    except (TimeoutError, BlockingIOError) as error:  # the latter: too many wait for it already
        raise Hung(f"The program that listens on {run_directory / name} does not answer.") from error
    except OSError as error:
        raise Silent(error.strerror or str(error)) from error
