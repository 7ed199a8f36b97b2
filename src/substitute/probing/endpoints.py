"""Looks at endpoints from outside, and at who listens on them."""

from __future__ import annotations

import os
import socket
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.environment import IN_A_HOOK
from substitute.core.model.slots import Endpoint
from substitute.core.ports.prober import Answer
from substitute.http.failures import FailedError
from substitute.linux import listeners, processes
from substitute.linux.connections import PROBE_MARK, WILDCARDS, connected
from substitute.linux.users import number_of
from substitute.probing.requests import ask
from substitute.probing.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from substitute.core.model.apps import Health
    from substitute.core.model.programs import Process
    from substitute.core.ports.prober import Connected, Page

_LONGEST = 5.0
"""Seconds that one probe may take, however long the health check as a whole may."""
_ETHERNET, _LITTLE = 1460, 2048
"""Bytes of a segment and of a receive buffer: as between machines, and as small as it can be."""


class Sockets:
    """Probes over the network, and the kernel's tables of sockets (see `core.ports.prober.Prober`)."""

    def __init__(self, owner: int | None = None) -> None:
        """`owner` is the number of the user whose the root's state is; by default who asks."""
        self._owner = os.geteuid() if owner is None else owner

    def holder(self, endpoint: Endpoint) -> str | None:
        """Who listens on the port (``node (pid 812)``), wildcard addresses included; None: it is free."""
        found = listeners.on(endpoint)
        if not found:
            return None
        names = {listener.inode: "" for listener in found}
        for pid in _every_pid():
            for inode in sockets_of(pid) & names.keys():
                names[inode] = names[inode] or f"{processes.name(pid)} (pid {pid})"
            if all(names.values()):
                break
        return ", ".join(sorted({names[listener.inode] or _somebody(listener.user) for listener in found}))

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        """Whether every listener on the port belongs to `process`, its descendants or its group.

        None while nobody listens. Descriptors of another user's processes can't be read without privilege;
        such a listener counts as somebody else's.
        """
        wanted = {listener.inode for listener in listeners.on(endpoint)}
        if not wanted:
            return None
        if not processes.is_alive(process):
            return False
        # Nearly always the started process listens itself; only then is there no need to search.
        wanted -= sockets_of(process.pid)
        if not wanted:
            return True
        for pid in _family(process):
            wanted -= sockets_of(pid)
        return not wanted

    def listens(self, endpoint: Endpoint, process: Process) -> bool:
        """By its descriptors."""
        wanted = {listener.inode for listener in listeners.on(endpoint)}
        return processes.is_alive(process) and not wanted.isdisjoint(sockets_of(process.pid))

    def listening(self, process: Process) -> frozenset[Endpoint]:
        """By the kernel's table of listening sockets, and by who holds them."""
        if not processes.is_alive(process):
            return frozenset()
        inodes = {inode for pid in {process.pid, *_family(process)} for inode in sockets_of(pid)}
        return frozenset(Endpoint(found.address, found.port) for found in listeners.held(inodes))

    def bound(self, endpoint: Endpoint) -> frozenset[Endpoint]:
        """By the kernel's table of listening sockets alone."""
        return frozenset(Endpoint(found.address, found.port) for found in listeners.on(endpoint))

    def connected(self, endpoint: Endpoint) -> Connected | None:
        """From both ends: whoever closes first keeps the connection in TIME_WAIT."""
        try:
            return connected(endpoint.port)
        except OSError:
            return None

    def marked(
        self, marks: Mapping[str, str], users: Iterable[str | None], root: Path
    ) -> Mapping[Process, str]:
        """By their environment, which another user's processes show to root alone."""
        found = processes.started_with(marks, without=IN_A_HOOK)
        if not found:
            return {}
        owners = [{self._owner if user is None else number_of(user)} for user in users]
        ours = processes.kin(os.getpid())
        return {
            process: f"{processes.name(process.pid)} (pid {process.pid})"
            for process in found
            if process.pid not in ours
            and processes.users(process.pid) in owners
            and not self.is_elsewhere(process, root)
        }

    def is_elsewhere(self, process: Process, root: Path) -> bool:
        """By the root that its working directory lies in, if it lies in one."""
        if not processes.is_alive(process):
            return False
        with suppress(OSError):
            at = Path(f"/proc/{process.pid}/cwd").readlink()
            roots = [one for one in (at, *at.parents) if (one / "deploy" / "journal.db").exists()]
            # What a repository holds may look like a root.
            return bool(roots) and not any(one.samefile(root) for one in roots)
        return False

    def probe(self, endpoint: Endpoint, health: Health) -> Answer:
        """Ask once, as `health` says. Never raises."""
        limit = min(health.timeout, _LONGEST)
        try:
            with closing(connect(endpoint, limit)) as connection:
                if health.kind == "tcp":
                    return Answer(good=True, seen="connected")
                return ask(connection, endpoint, health, limit).judged(health)
        except (OSError, FailedError, ValueError) as error:
            return Answer(good=False, seen=_words(error, limit))

    def fetch(self, endpoint: Endpoint, path: str, health: Health, *, limit: float) -> Answer:
        """Ask for `path` with the headers of `health`, and take the whole answer, for `limit` seconds. Never raises."""
        began = time.monotonic()
        try:
            with closing(connect(endpoint, limit)) as connection:
                seen = ask(connection, endpoint, health, limit, path=path, whole=True)
        except (OSError, FailedError, ValueError) as error:
            return Answer(good=False, seen=_words(error, limit), seconds=time.monotonic() - began)
        return Answer(
            good=seen.whole,
            seen=seen.told if seen.whole else f"{seen.told}, cut off after {limit:g} s",
            status=seen.head.status,
            seconds=time.monotonic() - began,
        )

    def fetch_all(
        self, pages: Sequence[Page], *, at_once: int, limit: float, within: float
    ) -> Sequence[Answer | None]:
        """Each on a connection of its own."""
        until = time.monotonic() + within

        def fetch(page: Page) -> Answer | None:
            if time.monotonic() + limit > until:
                return None
            return self.fetch(page.endpoint, page.path, page.health, limit=limit)

        return side_by_side(fetch, pages, at_once)

    def alive(self, process: Process) -> bool:
        """Whether it is still that process; a zombie is not."""
        return processes.is_alive(process)

    def age(self, process: Process) -> float:
        """Seconds since it started."""
        with open("/proc/uptime", encoding="ascii") as uptime:  # noqa: PTH123
            now = float(uptime.read().split()[0])
        return max(0.0, now - process.start_time / os.sysconf("SC_CLK_TCK"))


def connect(endpoint: Endpoint, limit: float, *, slow_reader: bool = False) -> socket.socket:
    """Connect, with the mark of a probe, within `limit` seconds. Raises OSError.

    To a `slow_reader` the kernels of both sides hand over little that it has not read: they take about 60 KB from the
    app, where within one machine they would take megabytes.
    """
    host = WILDCARDS.get(endpoint.host, endpoint.host)
    refused: OSError | None = None
    name = host.encode() if host.isascii() else host  # text is encoded by what takes long to import
    for family, kind, protocol, _, address in socket.getaddrinfo(
        name, endpoint.port, type=socket.SOCK_STREAM
    ):
        connection = socket.socket(family, kind, protocol)
        try:
            with suppress(PermissionError):  # without privilege there is no gate either
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROBE_MARK)
            if slow_reader:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _ETHERNET)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LITTLE)
            connection.settimeout(limit)
            connection.connect(address)
        except OSError as error:
            connection.close()
            refused = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise refused or OSError("no address")


def _words(error: Exception, limit: float) -> str:

    known: tuple[tuple[type[Exception], str], ...] = (
        (ConnectionRefusedError, "connection refused"),
        (TimeoutError, f"no answer within {limit:.3g} s"),
        (ConnectionError, "connection reset"),
        (socket.gaierror, "the host's name is unknown"),
    )
    for kind, words in known:
        if isinstance(error, kind):
            return words
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__


def _family(process: Process) -> set[int]:
    from substitute.linux.containers import proxies_like  # noqa: PLC0415

    return processes.family(process) | proxies_like(process.pid)


def _every_pid() -> Iterable[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208


def sockets_of(pid: int) -> set[int]:
    """List the numbers of the sockets that `pid` holds; none where that can't be seen."""
    found = set()
    directory = f"/proc/{pid}/fd"
    # It may end at any moment, and another user's descriptors can't be read.
    with suppress(OSError):
        for descriptor in os.listdir(directory):  # noqa: PTH208  # asked often while an app starts
            with suppress(OSError):
                target = os.readlink(f"{directory}/{descriptor}")  # noqa: PTH115
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return found


def _somebody(user: int) -> str:
    with suppress(OSError):
        for line in Path("/etc/passwd").read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split(":")
            if len(fields) > 2 and fields[2] == str(user):
                return f"a process of user {fields[0]} (which one can't be seen without privilege)"
    return f"a process of user {user} (which one can't be seen without privilege)"
