"""Who listens on endpoints, and what they answer."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.environment import IN_A_HOOK
from substitute.core.model.slots import Endpoint
from substitute.linux import listeners, processes
from substitute.linux.users import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from substitute.core.model.apps import Health
    from substitute.core.model.programs import Process
    from substitute.core.ports.prober import Answer, Connected, Page


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
        from substitute.linux.connections import connected  # noqa: PLC0415  # few apps bypass the balancer

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
        from substitute.probing.probes import probe  # noqa: PLC0415  # `status` asks no app

        return probe(endpoint, health)

    def fetch(self, endpoint: Endpoint, path: str, health: Health, *, limit: float) -> Answer:
        """Ask for `path` with the headers of `health`, and take the whole answer, for `limit` seconds. Never raises."""
        from substitute.probing.probes import fetch  # noqa: PLC0415  # as above

        return fetch(endpoint, path, health, limit=limit)

    def fetch_all(
        self, pages: Sequence[Page], *, at_once: int, limit: float, within: float
    ) -> Sequence[Answer | None]:
        """Each on a connection of its own."""
        from substitute.probing.probes import fetch_all  # noqa: PLC0415  # as above

        return fetch_all(pages, at_once=at_once, limit=limit, within=within)

    def alive(self, process: Process) -> bool:
        """Whether it is still that process; a zombie is not."""
        return processes.is_alive(process)

    def age(self, process: Process) -> float:
        """Seconds since it started."""
        with open("/proc/uptime", encoding="utf-8") as uptime:  # noqa: PTH123
            now = float(uptime.read().split()[0])
        return max(0.0, now - process.start_time / os.sysconf("SC_CLK_TCK"))


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
