"""What a worker of nginx that is leaving may yet send somewhere, by the kernel's account of its connections."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.linux import sock_diag
from substitute.linux.processes import is_alive
from substitute.linux.sock_diag import State

if TYPE_CHECKING:
    from substitute.core.model.programs import Process

_NETWORK = Path("/proc/self/ns/net")
_EVERY_PORT = 0
_OPEN = frozenset({State.ESTABLISHED, State.CLOSE_WAIT})
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def undecided(worker: Process) -> int:
    """How many of its clients are not connected to anything behind it yet: at most so many requests may still come.

    One where that can't be known. A client's connection came to a port that is listened on; the others the worker
    has opened itself.
    """
    try:
        if not _NETWORK.samefile(f"/proc/{worker.pid}/ns/net"):  # a container's: not to be seen from here
            return 1
        own = _sockets(worker.pid)
        listening = {seen.local.port for seen in sock_diag.sockets(_EVERY_PORT, {State.LISTEN})}
        ports = [s.local.port for s in sock_diag.sockets(_EVERY_PORT, _OPEN) if s.inode in own]
    except OSError:
        return int(is_alive(worker))
    clients = sum(1 for port in ports if port in listening)
    return max(0, clients - (len(ports) - clients))


def _sockets(pid: int) -> set[int]:
    """The numbers of its sockets in the kernel. Raises OSError where they can't be seen."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            if link := _SOCKET.fullmatch(str(entry.readlink())):
                found.add(int(link[1]))
    return found
