"""The instances and commands that run on this machine, as its kernel knows them."""

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

    from substitute.core.model.programs import Process


class LocalInstances:
    """See `core.ports.instances.Instances`."""

    def __init__(self, owner: int | None = None) -> None:
        """`owner` is the number of the user whose the root's state is; by default who asks."""
        self._owner = os.geteuid() if owner is None else owner

    def alive(self, process: Process) -> bool:
        """Whether it is still that process; a zombie is not."""
        return processes.is_alive(process)

    def age(self, process: Process) -> float:
        """Seconds since it started."""
        with open("/proc/uptime", encoding="utf-8") as uptime:  # noqa: PTH123
            now = float(uptime.read().split()[0])
        return max(0.0, now - process.start_time / os.sysconf("SC_CLK_TCK"))

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
        wanted -= listeners.sockets_of(process.pid)
        if not wanted:
            return True
        for pid in _family(process):
            wanted -= listeners.sockets_of(pid)
        return not wanted

    def answering(self, name: str, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:  # noqa: ARG002
        """All of `endpoints`."""
        return endpoints

    def listens(self, endpoint: Endpoint, process: Process) -> bool:
        """Look whether one of its descriptors is a socket that listens there."""
        wanted = {listener.inode for listener in listeners.on(endpoint)}
        return processes.is_alive(process) and not wanted.isdisjoint(listeners.sockets_of(process.pid))

    def listening(self, process: Process) -> frozenset[Endpoint]:
        """Look in the kernel's table of listening sockets, and at who holds them."""
        if not processes.is_alive(process):
            return frozenset()
        inodes = {inode for pid in {process.pid, *_family(process)} for inode in listeners.sockets_of(pid)}
        return frozenset(Endpoint(found.address, found.port) for found in listeners.held(inodes))

    def marked(
        self, marks: Mapping[str, str], users: Iterable[str | None], root: Path
    ) -> Mapping[Process, str]:
        """Read their environment, which another user's processes show to root alone."""
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
        """Look in which root its working directory lies, if in any."""
        if not processes.is_alive(process):
            return False
        with suppress(OSError):
            at = Path(f"/proc/{process.pid}/cwd").readlink()
            roots = [one for one in (at, *at.parents) if (one / "deploy" / "journal.db").exists()]
            # What a repository holds may look like a root.
            return bool(roots) and not any(one.samefile(root) for one in roots)
        return False


def _family(process: Process) -> set[int]:
    from substitute.linux.containers import proxies_like  # noqa: PLC0415

    return processes.family(process) | proxies_like(process.pid)
