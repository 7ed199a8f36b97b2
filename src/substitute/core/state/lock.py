"""One deployment of an app at a time: the kernel's lock, which cannot outlive its holder."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import LockedError
from substitute.values import asdict, dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from substitute.core.state.queue import Turn

RECOVERY = "recovery"
"""The operation of a guardian."""
_AWAITED = frozenset({RECOVERY, "up"})
"""Short, worth waiting for, and done with nobody typing: at boot `up` is tried until everything serves."""
_TICK = 0.02
_SOON = 1.0
"""Seconds after which somebody who waits for one of these is told so."""


def own_lock(name: str) -> str:
    """The file of a lock of substitute's own, beside those of the apps: no app and no guest is called like it."""
    return f".{name}.lock"


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, in his own words."""

    pid: int
    operation: str
    since: float
    phase: str = ""
    doing: str = ""
    """What it waits for, as a sentence; empty where it works."""

    @property
    def is_awaited(self) -> bool:
        """Whether every command waits for it."""
        return self.operation in _AWAITED

    def __str__(self) -> str:
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"`{self.operation}` (pid {self.pid}) since {began}" + (
            f", now in phase {self.phase}" if self.phase else ""
        )


class Lock:
    """A held lock that can tell others how far its holder has come."""

    def __init__(self, descriptor: int, operation: str) -> None:
        self._descriptor = descriptor
        self._holder = Holder(os.getpid(), operation, time.time())
        self.phase("")

    def phase(self, phase: str, doing: str = "") -> None:
        """Tell in which phase the holder is, and what it waits for there."""
        holder = Holder(self._holder.pid, self._holder.operation, self._holder.since, phase, doing)
        text = json.dumps(asdict(holder)).encode()
        with suppress(OSError):  # a full disk: who holds it is known all the same
            os.pwrite(self._descriptor, text.ljust(256) + b"\n", 0)
            os.ftruncate(self._descriptor, max(257, len(text) + 1))


@contextmanager
def deployment_lock(
    path: Path,
    operation: str,
    *,
    patience: float = 60.0,
    wait: float = 0.0,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Lock]:
    """Hold the lock at `path`.

    A recovery and an `up` are waited for, at most `patience` seconds; any living holder for `wait` seconds. `tell`
    takes who that is, of a recovery and an `up` only where they take a while. Those who wait with `wait` get it in the
    order in which they came. Then it is a LockedError.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if wait:
            from substitute.core.state.queue import Turn  # noqa: PLC0415  # seldom typed

            with Turn(path) as turn:
                _acquire(descriptor, operation, patience, wait, tell=tell, turn=turn)
        else:
            _acquire(descriptor, operation, patience, wait, tell=tell)
        yield Lock(descriptor, operation)
    finally:
        os.close(descriptor)


def _acquire(
    descriptor: int,
    operation: str,
    patience: float,
    wait: float,
    *,
    tell: Callable[[str], None],
    turn: Turn | None = None,
) -> None:
    began, told = time.monotonic(), None
    while not ((turn is None or turn.has_come()) and _taken(descriptor)):
        holder = _read(descriptor)
        # A dead holder's words under a held lock: a guardian has just taken it and not yet said so.
        alive = holder is not None and _exists(holder.pid)
        passing = holder is None or holder.is_awaited or not alive
        limit, waited = max(wait, patience if passing else 0.0), time.monotonic() - began
        if waited >= limit:
            raise _locked(holder, operation, limit, chosen=bool(wait))
        now = holder and (holder.pid, holder.phase if passing else "")
        if holder and alive and now != told and waited >= (_SOON if passing else 0.0):
            from substitute.core.state.waiting import what_is_awaited  # noqa: PLC0415  # where somebody waits

            told, awaited = now, what_is_awaited(holder.phase, holder.doing, typed=operation)
            tell(f"Waiting, for at most {limit:g}s, for {holder}. {awaited}".rstrip())
        time.sleep(_TICK)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked(holder: Holder | None, operation: str, waited: float, *, chosen: bool) -> LockedError:
    """The error of `operation`, which has waited for so long; `chosen` where somebody said for how long."""
    what = f"After {waited:g}s another command is still working" if waited else "Another command is working"
    if holder is None:
        cure = "Wait for it; `substitute status` shows how far it is."
    else:
        from substitute.core.state.waiting import how_to_end  # noqa: PLC0415  # of this error alone

        suspended = _is_suspended(holder.pid)
        cure = how_to_end(holder.operation, holder.phase, holder.pid, typed=operation, suspended=suspended)
    if not chosen:
        cure += f" With `--wait 10m` this command waits{' longer' if waited else ''}."
    fact = f"It is {holder or 'unknown'}. {holder.doing if holder else ''}".rstrip()
    return LockedError(f"{what} on this app.", fact=fact, cure=cure)


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock at `path` now, or None."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor)
    finally:
        os.close(descriptor)
    return None


@contextmanager
def short_lock(path: Path) -> Iterator[None]:
    """Hold the lock at `path` for an instant; wait for it as long as it takes."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> Holder | None:
    try:
        return Holder(**json.loads(os.pread(descriptor, 4096, 0)))
    except (ValueError, TypeError, OSError):
        return None


def _is_suspended(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:
        return False
    return state == b"T"


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
