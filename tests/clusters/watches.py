"""How many files may be watched: a limit of the whole machine, and too low for many machines in it."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
_HOLDERS = Path("/run/lock/substitute-tests-watches")
_ENOUGH = 1024
"""A node has 17 instances: eight of systemd, seven of Kubernetes. Debian allows 128 to a user."""


@contextmanager
def enough_watches() -> Iterator[None]:
    """Have the limit high enough while the block runs, and as it was when the last such block ends.

    Who needs it holds a lock that many can hold; who can have it alone is the first, or the last.
    """
    _HOLDERS.parent.mkdir(exist_ok=True)
    with _HOLDERS.open("a+") as holders:
        if _alone(holders.fileno()):
            _put_back()  # what a run left that was killed
            found = _LIMIT.read_text()
            if int(found) < _ENOUGH:
                _HOLDERS.write_text(found)
                _LIMIT.write_text(str(_ENOUGH))
        fcntl.flock(holders, fcntl.LOCK_SH)
        try:
            yield
        finally:
            if _alone(holders.fileno()):
                _put_back()


def _alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _put_back() -> None:
    if before := _HOLDERS.read_text():
        _LIMIT.write_text(before)
        _HOLDERS.write_text("")
