"""Those who wait for a lock get it in the order in which they came: of two commits the later one must end up live."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class Turn:
    """A place in the queue at a lock: a file, numbered by when its owner came, that its owner holds locked.

    So nobody waits for one who was killed.
    """

    def __init__(self, lock: Path) -> None:
        self._queue = f"{lock.name}.waits."
        self._file = lock.with_name(f"{self._queue}{time.monotonic_ns():020d}.{os.getpid()}")

    def __enter__(self) -> Self:
        hidden = self._file.with_name(
            f".{self._file.name}"
        )  # until it is locked, it would seem to be left behind
        self._descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        hidden.rename(self._file)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.unlink(missing_ok=True)
        os.close(self._descriptor)

    def has_come(self) -> bool:
        """Whether nobody who waits came earlier. What dead ones have left is removed."""
        others = [file for file in self._file.parent.glob(f"{self._queue}*") if file.name != self._file.name]
        waiting = [file for file in others if not _is_left(file)]
        return all(file.name > self._file.name for file in waiting)


def _is_left(file: Path) -> bool:
    """Whether its owner is gone; it is removed then."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    with suppress(FileNotFoundError):
        file.unlink()
    return True
