"""The kernel's view of processes, and signals that never reach the wrong one.

A pid is reused; a pid with its start time and the boot it belongs to is not. Signals go through a pidfd
that was opened before the identity was checked, so that nothing can take the pid in between.
"""

from __future__ import annotations

import os
import re
import select
import signal
import time
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from substitute.core.model.programs import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_PROC = "/proc"
_GONE = frozenset("ZXx")
"""States of a process that runs no more: a zombie only waits for its parent."""
_CHUNK = 1 << 12
_SLEEP_WITHOUT_PIDFD = 0.005
"""Seconds between two looks at whether a process has ended, on a kernel without pidfds."""
_PASSES = 20
"""How often a group is looked at again for members that were forked while it was signalled."""


class Stat(NamedTuple):
    """The fields of ``/proc/PID/stat`` that matter here. A tuple: of each process one is made, again and again."""

    pid: int
    state: str
    parent: int
    group: int
    terminal: int
    """0: none."""
    start_time: int

    @property
    def gone(self) -> bool:
        """Whether it is a zombie."""
        return self.state in _GONE


@cache
def boot_id() -> str:
    """Name this run of the kernel: two boots never share it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()


def identify(pid: int, *, zombie: bool = False) -> Process | None:
    """Give `pid` its lasting identity, or None where no such process runs.

    A zombie counts as gone, unless `zombie` is true (for the parent that has yet to reap it).
    """
    stat = _stat(pid)
    if stat is None or (stat.gone and not zombie):
        return None
    return Process(pid, stat.start_time, boot_id())


def is_alive(process: Process) -> bool:
    """Whether it is still that very process; a zombie is not."""
    return identify(process.pid) == process


def wait_for_end(process: Process, seconds: float) -> None:
    """Return as soon as `process` has ended, and after `seconds` in any case. A kernel without pidfds tells late."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        if is_alive(process):
            time.sleep(min(seconds, _SLEEP_WITHOUT_PIDFD))
        return
    try:
        if is_alive(process):  # asked now that the descriptor is of nobody else
            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            poller.poll(max(0.0, seconds) * 1000)
    finally:
        os.close(descriptor)


def name(pid: int) -> str:
    """Say what runs as `pid`, in one word: ``node``; ``?`` where that can't be known."""
    # The command line comes first: the kernel's own name for node is "MainThread".
    title = _read(pid, "cmdline").split(b"\0", 1)[0].decode(errors="replace")
    words = os.path.basename(title.split(" ", 1)[0]).rstrip(":")  # noqa: PTH119  # no path object for a title
    return words or _read(pid, "comm").decode(errors="replace").strip() or "?"


def parent(pid: int) -> int | None:
    """The process that started `pid`, where it still runs and is not init."""
    stat = _stat(pid)
    return stat.parent if stat and stat.parent > 1 else None


def is_stopped(pid: int) -> bool:
    """Whether it does nothing until SIGCONT: after SIGSTOP, or under a debugger."""
    stat = _stat(pid)
    return stat is not None and stat.state in "Tt"


def started_with(environment: Mapping[str, str], *, without: str) -> list[Process]:
    """All running processes that were started with all of `environment`, as far as it can be read.

    Not those that were started with a variable `without` as well, nor what somebody runs at a terminal: whoever looks
    for a fault may well give a program the environment of another one.
    """
    wanted = {f"{name}={value}".encode() for name, value in environment.items()}
    unwanted = f"{without}=".encode()

    def fits(pid: int) -> bool:
        given = _read(pid, "environ").split(b"\0")
        return wanted <= set(given) and not any(entry.startswith(unwanted) for entry in given)

    # Asked again when the identity is known: of a pid that is taken anew in between, nothing will be found under it.
    found = [stat for pid in _pids() if fits(pid) and (stat := _stat(pid)) and fits(pid)]
    return [
        Process(stat.pid, stat.start_time, boot_id()) for stat in found if not stat.gone and not stat.terminal
    ]


def kin(pid: int) -> set[int]:
    """`pid`, who started it, who started that one, and so on, and all that `pid` itself has started."""
    found = {pid, *descendants(pid)}
    while above := parent(pid):
        found.add(above)
        pid = above
    return found


def users(pid: int) -> set[int]:
    """Whom `pid` runs as, and who started it: two, where a program of another user's was executed (setuid)."""
    found = re.search(rb"^Uid:\t(\d+)\t(\d+)", _read(pid, "status"), re.MULTILINE)
    return set(map(int, found.groups())) if found else set()


def handles(pid: int, number: int) -> bool:
    """Whether signal `number` comes to code of `pid` itself; else it is ignored, or the kernel ends the process.

    One that is blocked counts as handled: the program waits for it. So does what can't be known.
    """
    masks = re.findall(rb"^Sig(?:Blk|Cgt):\t([0-9a-f]+)", _read(pid, "status"), re.MULTILINE)
    return not masks or any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def program(pid: int) -> str:
    """The name of the file that `pid` executes, whatever it calls itself; empty where that can't be known."""
    try:
        file = os.readlink(f"{_PROC}/{pid}/exe")  # noqa: PTH115  # no path object for a name
    except OSError:
        return ""
    return os.path.basename(file.removesuffix(" (deleted)"))  # noqa: PTH119


def command_line(pid: int) -> list[str]:
    """What `pid` was executed with; empty where that can't be known."""
    return _read(pid, "cmdline").decode(errors="replace").split("\0")[:-1]


def descendants(pid: int, among: Iterable[Stat] | None = None) -> set[int]:
    """List the running children of `pid`, their children, and so on; not `pid` itself. `among` is what runs.

    A process whose parent has exited belongs to init and is not found (see `group_members`).
    """
    children: dict[int, list[Stat]] = {}
    for stat in _all() if among is None else among:
        children.setdefault(stat.parent, []).append(stat)
    found: set[int] = set()
    # A zombie's children are init's already, so nothing is lost by passing over it.
    waiting = [pid]
    while waiting:
        for stat in children.get(waiting.pop(), ()):
            if not stat.gone and stat.pid not in found:
                found.add(stat.pid)
                waiting.append(stat.pid)
    return found


def every() -> list[int]:
    """List the running processes."""
    return [stat.pid for stat in _all() if not stat.gone]


def children(pid: int) -> set[int]:
    """List the running processes that `pid` has started itself."""
    return {stat.pid for stat in _all() if stat.parent == pid and not stat.gone}


def group_members(pgid: int) -> set[int]:
    """List the running processes of the process group `pgid`."""
    return {stat.pid for stat in _all() if stat.group == pgid and not stat.gone}


def family(process: Process) -> set[int]:
    """List the running descendants of `process`, and the members of its group (see `group_of`)."""
    every = list(_all())
    return group_of(process, every) | (descendants(process.pid, every) if is_alive(process) else set())


def group_of(process: Process, among: Iterable[Stat] | None = None) -> set[int]:
    """List the running members of the group that `process` leads or led; one that leads none is alone.

    A pid is not given out again while a group of that number has members. So where another process has
    the pid, or another boot runs, the group is gone. Where nobody has the pid, members as young as the
    leader are its own.
    """
    if process.boot_id != boot_id():
        return set()
    leader = _stat(process.pid)
    if leader is not None and leader.start_time != process.start_time:
        return set()
    if leader is not None and leader.group != process.pid:
        return set() if leader.gone else {process.pid}
    return {
        stat.pid
        for stat in (_all() if among is None else among)
        if stat.group == process.pid and not stat.gone and stat.start_time >= process.start_time
    }


def first_of(found: Iterable[Process]) -> Process | None:
    """The earliest of `found` that no other of them has started, if there is any."""
    known = list(found)
    pids = {one.pid for one in known}
    return min(
        (one for one in known if parent(one.pid) not in pids), key=lambda one: one.start_time, default=None
    )


def works_in_removed(directory: Path) -> list[int]:
    """The pids that work in a directory which was `directory`, and was removed since."""
    found, removed = [], f"{directory} (deleted)"
    for pid in _pids():
        with suppress(OSError):
            if os.readlink(f"{_PROC}/{pid}/cwd") == removed:  # noqa: PTH115  # its very text
                found.append(pid)
    return found


def signal_process(process: Process, number: int) -> bool:
    """Send signal `number` to that very process; False where it is gone.

    Raises PermissionError where it belongs to another user.
    """
    return _signal_if(process.pid, number, lambda: is_alive(process))


def signal_group(process: Process, number: int) -> bool:
    """Send signal `number` to every member of the group that `process` leads or led; to one that leads none, alone.

    False where no member is left. Raises PermissionError where a member belongs to another user.
    """
    tried: set[int] = set()
    reached = False
    refused: PermissionError | None = None
    for _ in range(_PASSES):
        found = group_of(process) - tried
        if not found:
            break
        for pid in found:
            tried.add(pid)
            try:
                reached |= _signal_if(pid, number, partial(_in_group, pid, process))
            except PermissionError as error:  # the others still get it
                refused = error
    if refused:
        raise refused
    return reached


def _signal_if(pid: int, number: int, same: Callable[[], bool]) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except (AttributeError, OSError):
        # A Python or a kernel without pidfd: the moment between check and signal has to be accepted.
        return _kill_if(pid, number, same)
    try:
        if not same():
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _kill_if(pid: int, number: int, same: Callable[[], bool]) -> bool:
    try:
        if not same():
            return False
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _in_group(pid: int, leader: Process) -> bool:
    stat = _stat(pid)
    return (
        stat is not None
        and not stat.gone
        and stat.start_time >= leader.start_time
        and (stat.group == leader.pid or (stat.pid, stat.start_time) == (leader.pid, leader.start_time))
    )


def _all() -> Iterator[Stat]:
    for pid in _pids():
        stat = _stat(pid)
        if stat is not None:
            yield stat


def _pids() -> Iterator[int]:
    return map(int, filter(str.isdigit, os.listdir(_PROC)))  # noqa: PTH208  # in the loops that wait


def _stat(pid: int) -> Stat | None:
    text = _read(pid, "stat")
    # The name stands in parentheses and may hold anything, parentheses and blanks too.
    _, closed, rest = text.rpartition(b")")
    fields = rest.split()
    if not closed or len(fields) < 20:
        return None
    return Stat(pid, fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[4]), int(fields[19]))


def _read(pid: int, file: str) -> bytes:
    try:
        descriptor = os.open(f"{_PROC}/{pid}/{file}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        found = part = os.read(descriptor, _CHUNK)
        while len(part) == _CHUNK:
            part = os.read(descriptor, _CHUNK)
            found += part
    except OSError:  # it went away between the two calls
        return b""
    else:
        return found
    finally:
        os.close(descriptor)
