"""HAProxy's runtime API on its unix sockets."""

from __future__ import annotations

import csv
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

WORKER, MASTER = "haproxy.sock", "haproxy-master.sock"
_TIMEOUT = 5.0


class Silent(Exception):  # noqa: N818
    """Nobody answers on the socket."""


def ask(run_directory: Path, name: str, *commands: str) -> str:
    """Send commands in one connection; their answers, one after the other. Raises `Silent`."""
    # Through a descriptor of its directory: the path itself may be longer than a socket's can be.
    descriptor = os.open(run_directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT)
            connection.connect(f"/proc/self/fd/{descriptor}/{name}")
            connection.sendall(";".join(commands).encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)  # else the master of 2.8 keeps the connection open
            answer = b""
            while data := connection.recv(65536):
                answer += data
            return answer.decode(errors="replace")
    except OSError as error:
        raise Silent(str(error)) from error
    finally:
        os.close(descriptor)


def description(run_directory: Path) -> str | None:
    """The `description` of the worker's configuration, or None where none runs."""
    try:
        info = ask(run_directory, WORKER, "show info")
    except Silent:
        return None
    return next((line[12:].strip() for line in info.splitlines() if line.startswith("description:")), "")


def weights(answer: str) -> dict[tuple[str, str], int]:
    """What ``show servers state`` says of every server's weight, by backend and server."""
    found = {}
    for line in answer.splitlines():
        fields = line.split()
        if len(fields) > 8 and not line.startswith("#"):
            found[fields[1], fields[3]] = int(fields[7])
    return found


def old_workers(run_directory: Path) -> list[int] | None:
    """Pids of workers that a reload replaced and that still have connections; None where no master answers."""
    try:
        answer = ask(run_directory, MASTER, "show proc")
    except Silent:
        return None
    found, old = [], False
    for line in answer.splitlines():
        if line.startswith("#"):
            old = line.startswith("# old workers")
        elif old and line.split():
            found.append(int(line.split()[0]))
    return found


@dataclass(frozen=True)
class ServerCount:
    """A row of ``show stat``."""

    current: int
    total: int
    failures: int
    weight: int


def statistics(answer: str) -> dict[tuple[str, str], ServerCount]:
    """What ``show stat`` says of every server, by backend and server."""
    rows = csv.DictReader(line.lstrip("# ") for line in answer.splitlines() if line)
    return {
        (row["pxname"], row["svname"]): ServerCount(
            current=int(row["scur"] or 0),
            total=int(row["stot"] or 0),
            failures=sum(int(row[column] or 0) for column in ("hrsp_5xx", "econ", "eresp")),
            weight=int(row["weight"] or 0),
        )
        for row in rows
        if row.get("svname") not in {None, "FRONTEND", "BACKEND"}
    }
