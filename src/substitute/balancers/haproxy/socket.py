"""HAProxy's runtime API on its two unix sockets: the worker's, and the master's."""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from substitute.balancers.haproxy import answers
from substitute.balancers.haproxy.names import MAP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from substitute.balancers.haproxy.file import Servers

WORKER, MASTER = "haproxy.sock", "haproxy-master.sock"
_TIMEOUT = 5.0
_ATTEMPTS = 5
_PROMPT = re.compile(rb"^[^\s>]*> \Z", re.MULTILINE)
"""``> ``, ``master> ``, or the pid of the worker that is asked through it."""
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


@contextmanager
def conversation(run_directory: Path, name: str, worker: int) -> Iterator[Callable[[str], str]]:
    """Ask a worker as often as wanted in one connection, through its master's socket `name`. Raises `Silent`.

    The newest one is asked on its own socket, which is ten times as fast.
    """
    with suppress(Silent):
        if answers.pid(ask(run_directory, WORKER, "show info")) == worker:
            name = WORKER
    with _connected(run_directory, name, _TIMEOUT) as connection:

        def say(command: str) -> str:
            connection.sendall(command.encode() + b"\n")
            answer = b""
            while not _PROMPT.search(answer):
                data = connection.recv(65536)
                if not data:
                    raise Silent("the connection was closed in the middle of an answer")
                answer += data
            return answer.decode(errors="replace")

        say("prompt")
        if name != WORKER:
            say(f"@!{worker}")
        yield say


def reload(run_directory: Path) -> None:
    """Have the master read its file again. It may hang up instead of answering, so nothing is returned."""
    with suppress(Silent):
        _exchange(run_directory, MASTER, "reload", _TIMEOUT)


def description(run_directory: Path, *, patience: float | None = None) -> str:
    """The `description` of the worker's configuration. Raises `Silent`."""
    return answers.description(ask(run_directory, WORKER, "show info", patience=patience))


def obey(run_directory: Path, servers: Servers, hosts: Mapping[str, str] | None) -> str | None:
    """Set the weights and addresses that differ, and which app each host name leads to (None: as it is).

    None where all is read back as wanted, else what it said. Raises `Silent`.
    """
    commands = _differing(run_directory, servers, hosts)
    if not commands:
        return None
    said = ask(run_directory, WORKER, *commands)
    return said.strip() if _differing(run_directory, servers, hosts) else None


def _differing(run_directory: Path, servers: Servers, hosts: Mapping[str, str] | None) -> list[str]:
    """What has to be told to the worker, by its own account."""
    shown = ask(run_directory, WORKER, "show servers state", f"show map {MAP}")
    now = answers.servers(shown)
    different = [(key, *server) for key, server in servers.items() if not _obeys(now.get(key), *server)]
    # Those that gain first: the last ready one is never out.
    different.sort(key=lambda change: _weight(now.get(change[0])) - change[2])
    commands = [_command(*change, now.get(change[0])) for change in different]
    return commands if hosts is None else commands + _leading(answers.map_entries(shown), hosts)


def _leading(now: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    new = [f"add map {MAP} {host} {app}" for host, app in wanted.items() if host not in now]
    other = [f"set map {MAP} {host} {app}" for host, app in wanted.items() if now.get(host, app) != app]
    gone = [f"del map {MAP} {host}" for host in now if host not in wanted]
    return [*new, *other, *gone]


def closing(servers: Iterable[answers.Key]) -> list[str]:
    """Commands that close the unused connections to `servers`: a server that enters maintenance loses them."""
    return [f"set server {'/'.join(key)} state {state}" for key in servers for state in ("maint", "ready")]


def unused_for(run_directory: Path, backend: str) -> int:
    """Seconds since somebody last came to `backend`, or since its worker began. Raises `Silent`."""
    return answers.unused_for(ask(run_directory, WORKER, "show info", "show stat -1 2 -1"), backend)


def looks(run_directory: Path) -> Mapping[answers.Key, answers.Look]:
    """What the worker sees of the servers that it looks at. Raises `Silent`."""
    return answers.looks(ask(run_directory, WORKER, "show stat -1 4 -1"))


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
        if now.checked and not weight:  # what was seen was seen at the other address
            commands.append(f"set server {server} health down")
    if now and not now.admitted:
        commands.append(f"set server {server} state ready")
    return ";".join([*commands, f"set server {server} weight {weight}"])


def line(run_directory: Path, command: str, patience: float) -> socket.socket:
    """Send the worker a command that goes on answering; the connection, whose reads take `patience` at most.

    Raises `Silent`.
    """
    with _connected(run_directory, WORKER, patience) as connection:
        connection.sendall(command.encode() + b"\n")
        return connection.dup()


def _exchange(run_directory: Path, name: str, line: str, patience: float) -> str:
    with _connected(run_directory, name, patience) as connection:
        connection.sendall(line.encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)  # else the master of 2.8 keeps the connection open
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return answer.decode(errors="replace")


@contextmanager
def _connected(run_directory: Path, name: str, patience: float) -> Iterator[socket.socket]:
    try:
        # Through a descriptor of its directory: the path itself may be longer than a socket's can be.
        descriptor = os.open(run_directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(patience)
                connection.connect(f"/proc/self/fd/{descriptor}/{name}")
                yield connection
        finally:
            os.close(descriptor)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise Absent(f"Nobody listens on {run_directory / name}.") from error
    except (TimeoutError, BlockingIOError) as error:  # the latter: too many wait for it already
        raise Hung(f"The program that listens on {run_directory / name} does not answer.") from error
    except OSError as error:
        raise Silent(error.strerror or str(error)) from error
