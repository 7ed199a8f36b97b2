"""HAProxy's runtime API on its two unix sockets: the worker's, and the master's."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.balancers import haproxy_answers as answers
from substitute.core.ports import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.core.slots import Endpoint

WORKER, MASTER = "haproxy.sock", "haproxy-master.sock"
_TIMEOUT = 5.0
_ATTEMPTS = 5
_PAUSE = 0.02


class Silent(Exception):  # noqa: N818
    """Nobody answers on the socket."""


def ask(run_directory: Path, name: str, *commands: str) -> str:
    """Send commands in one connection; their answers, one after the other. Raises `Silent`."""
    answer = _exchange(run_directory, name, ";".join(commands))
    if not answer:  # it ended, or was replaced, before it came to our turn
        raise Silent("the connection was closed without an answer")
    return answer


def reload(run_directory: Path) -> None:
    """Have the master read its file again. It may hang up instead of answering, so nothing is returned."""
    with suppress(Silent):
        _exchange(run_directory, MASTER, "reload")


def description(run_directory: Path) -> str | None:
    """The `description` of the worker's configuration, or None where no worker answers."""
    try:
        return answers.description(ask(run_directory, WORKER, "show info"))
    except Silent:
        return None


def weigh(run_directory: Path, wanted: Mapping[answers.Key, int]) -> str | None:
    """Set the weights that differ. None where all are read back as wanted, else what it said. Raises `Silent`."""
    now = _servers(run_directory)
    different = [(key, weight) for key, weight in wanted.items() if not _obeys(now.get(key), weight)]
    if not different:
        return None
    # Those that gain first: the last ready one is never out.
    different.sort(key=lambda change: _weight(now.get(change[0])) - change[1])
    said = ask(run_directory, WORKER, *(_command(key, weight, now.get(key)) for key, weight in different))
    now = _servers(run_directory)
    return None if all(_obeys(now.get(key), weight) for key, weight in wanted.items()) else said.strip()


def processes(run_directory: Path) -> answers.Processes | None:
    """The master's own account, or None where no master answers."""
    for _ in range(_ATTEMPTS):
        with suppress(Silent):
            return answers.processes(ask(run_directory, MASTER, "show proc"))
        time.sleep(_PAUSE)  # in the middle of a reload it hangs up on everybody
    return None


def traffic(run_directory: Path) -> dict[Endpoint, Traffic]:
    """What the worker has counted, and the old ones that a reload has left. Raises `Silent`."""
    # The worker first: one that is replaced in between is then among the old ones, and none is missed.
    found = _counted(run_directory, WORKER)
    for pid in _old(run_directory):
        try:
            left = _counted(run_directory, MASTER, f"@!{pid} ")
        except Silent:
            if pid in _old(run_directory):
                raise
            continue  # it has just left
        for endpoint, old in left.items():
            now = found.get(endpoint, Traffic(0, 0, 0, 0))
            found[endpoint] = Traffic(
                now.in_flight + old.in_flight,
                (now.requests or 0) + (old.requests or 0),
                (now.failures or 0) + (old.failures or 0),
                now.share,
            )
    return found


def _old(run_directory: Path) -> tuple[int, ...]:
    known = processes(run_directory)
    if known is None:  # in the middle of a reload: who is left then is not known
        raise Silent("its master does not answer")
    return known.old


def _servers(run_directory: Path) -> dict[answers.Key, answers.ServerState]:
    return answers.servers(ask(run_directory, WORKER, "show servers state"))


def _obeys(server: answers.ServerState | None, weight: int) -> bool:
    return server is not None and server.weight == weight and (server.admitted or weight == 0)


def _weight(server: answers.ServerState | None) -> int:
    return server.weight if server else 0


def _command(key: answers.Key, weight: int, now: answers.ServerState | None) -> str:
    server = "/".join(key)
    ready = "" if now is None or now.admitted else f"set server {server} state ready;"
    return f"{ready}set server {server} weight {weight}"


def _counted(run_directory: Path, name: str, prefix: str = "") -> dict[Endpoint, Traffic]:
    commands = (f"{prefix}show stat -1 4 -1", f"{prefix}show servers state")
    return answers.traffic(ask(run_directory, name, *commands))


def _exchange(run_directory: Path, name: str, line: str) -> str:
    try:
        # Through a descriptor of its directory: the path itself may be longer than a socket's can be.
        descriptor = os.open(run_directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(_TIMEOUT)
                connection.connect(f"/proc/self/fd/{descriptor}/{name}")
                connection.sendall(line.encode() + b"\n")
                connection.shutdown(socket.SHUT_WR)  # else the master of 2.8 keeps the connection open
                answer = b""
                while data := connection.recv(65536):
                    answer += data
                return answer.decode(errors="replace")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Silent(error.strerror or str(error)) from error
