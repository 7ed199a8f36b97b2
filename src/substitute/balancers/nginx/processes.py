"""nginx's processes, told apart by their titles: a master, its workers, and those that a reload has replaced."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import UnmovedError
from substitute.linux.processes import descendants, identify, is_alive, is_stopped, signal_process
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.model.programs import Process

_MASTER = "nginx: master process"
_WORKER = "nginx: worker process"
_LEAVING = "nginx: worker process is shutting down"
_PATIENCE = 60.0
"""Seconds for a reload. The master reads everything anew, names from the DNS too, and tries a port for 2.5 s."""
_REFUSED_AFTER = 0.5
"""Seconds for which the master must have had nothing to do: between the signal's delivery and its handler, nothing
of it can be seen."""
_TICK = 0.01
_HANGUP = 1 << (signal.SIGHUP - 1)


class UnclearError(UnmovedError):
    """Nobody knows which configuration the master took, or will take."""


@dataclass(frozen=True)
class Workers:
    """The workers of a master."""

    serving: frozenset[Process]
    leaving: frozenset[Process]
    """They accept no more, and still serve the connections that they have by the configuration they began with."""


def master_of(pid_file: Path) -> Process | None:
    """The master that `pid_file` names, or None where it names none that runs."""
    try:
        process = identify(int(pid_file.read_text()))
    except (OSError, ValueError):  # nginx -t leaves an empty one behind
        return None
    return process if process and is_master(process) else None


def is_master(process: Process) -> bool:
    """Whether it runs, and is a master of nginx."""
    return _title(process.pid).startswith(_MASTER) and is_alive(process)


def workers_of(master: Process) -> Workers:
    """The workers of the master at this moment."""
    serving: set[Process] = set()
    leaving: set[Process] = set()
    for pid in descendants(master.pid):
        process, title = identify(pid), _title(pid)
        if process and title.startswith(_WORKER):
            (leaving if title.startswith(_LEAVING) else serving).add(process)
    return Workers(frozenset(serving), frozenset(leaving))


def reload(master: Process, said: Callable[[], str]) -> None:
    """Have `master` read its configuration as it is now, and return when only workers that did so accept.

    Raises UnmovedError, with what it has `said` since, when it demonstrably goes on as before, and UnclearError
    when that can't be known.
    """
    deadline = time.monotonic() + _PATIENCE
    if is_stopped(master.pid):
        raise UnmovedError(
            f"nginx's master (pid {master.pid}) is suspended (SIGSTOP) and cannot reload. Its workers serve as before.",
            cure=f"Resume it with `kill -CONT {master.pid}`; then type the command again.",
        )
    # A reload that somebody else asked for may have read the earlier file, and its workers are not those wanted.
    while not _idle(master):
        _go_on(master, deadline, said)
    before, family = workers_of(master).serving, descendants(master.pid)
    try:
        signal_process(master, signal.SIGHUP)
    except PermissionError as error:
        raise UnmovedError(
            f"nginx's master (pid {master.pid}) belongs to another user and may not be told to reload.",
            cure='Run substitute as root or as its user, or choose balancer.kind = "passive", which needs no reload.',
        ) from error
    unchanged_since = time.monotonic()
    while True:
        now = workers_of(master).serving
        if now and not now & before:
            return
        if descendants(master.pid) - family or not _idle(master):
            unchanged_since = time.monotonic()
        elif time.monotonic() - unchanged_since > _REFUSED_AFTER:
            raise UnmovedError("nginx did not carry out the reload, and serves as before.", fact=said())
        _go_on(master, deadline, said)


def _go_on(master: Process, deadline: float, said: Callable[[], str]) -> None:
    if not is_alive(master):
        raise UnmovedError(f"nginx's master (pid {master.pid}) ended during its reload.", fact=said())
    if time.monotonic() > deadline:
        raise UnclearError(f"nginx (pid {master.pid}) did not reload within {_PATIENCE:g}s.", fact=said())
    time.sleep(_TICK)


def _idle(master: Process) -> bool:
    """Whether it waits for signals. While it does anything else it has them blocked, and they are pending."""
    sets = {"SigBlk": _HANGUP}
    with suppress(OSError, ValueError):
        for line in (
            Path(f"/proc/{master.pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        ):
            name, _, value = line.partition(":")
            if name in ("SigBlk", "SigPnd", "ShdPnd"):
                sets[name] = int(value, 16)
    return not any(mask & _HANGUP for mask in sets.values())


def _title(pid: int) -> str:
    with suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0])
    return ""
