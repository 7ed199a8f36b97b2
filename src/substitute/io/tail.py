"""Logs read while they are written: across restarts, switches and rotations, each line once."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.io.lines import Lines
from substitute.io.rotation import last_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_PAUSE = 0.1
_BLOCK = 1 << 16
_HEAD = 4096


def follow(logs: Mapping[Path, int], on_line: Callable[[Path, str], None], *, pause: float = _PAUSE) -> None:
    """Give `on_line` the last lines of each log, as many as `logs` says, then whatever is written.

    Returns never: Ctrl-C comes through. A log that does not exist yet is waited for.
    """
    followers = [Follower(path, lines, on_line) for path, lines in logs.items()]
    while True:
        found = [follower.read() for follower in followers]
        if not any(found):
            time.sleep(pause)


class Appended:
    """The lines that are appended to a log from now on (see `core.ports.runtime.Log`)."""

    def __init__(self, path: Path) -> None:
        self._lines: list[str] = []
        self._follower = Follower(path, 0, lambda _, line: self._lines.append(line))

    def lines(self, *, ended: bool = False) -> list[str]:
        """What came since the previous call: the writer itself has put it there, so there is nothing to wait for."""
        del ended
        with suppress(OSError):
            self._follower.read_what_is_there()
        found, self._lines[:] = list(self._lines), []
        return found


class Follower:
    """Follows one log."""

    def __init__(self, path: Path, lines: int, on_line: Callable[[Path, str], None]) -> None:
        """Begin `lines` lines before the end of `path`, in its rotated part if need be."""
        self.path = path
        self._lines = Lines(lambda line: on_line(path, line))
        self._rotated = path.with_name(f"{path.name}.1")
        self._descriptor: int | None = None
        self._position = 0
        self._size = 0
        self._part: tuple[int, int] | None = None
        if self._open():
            self._go_back(lines)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def read(self) -> bool:
        """Give away what was written since the last time; False if that is nothing."""
        if self._descriptor is None and not self._open():
            return False
        descriptor = self._opened
        replaced = self._is_replaced(descriptor)  # asked before the last bytes of the old file are read
        data = os.pread(descriptor, _BLOCK, self._position)
        # Looked at after the reading: had a rotation come before it, `data` is from the wrong place.
        missed = self._missed(descriptor)
        if missed is not None:
            self._lines.feed(missed)
            return True
        self._position += len(data)
        self._lines.feed(data)
        if replaced and not data:
            self.close()
        return bool(data)

    def read_what_is_there(self) -> None:
        """Give away all that is written now; one that writes faster than it is read keeps nobody here."""
        end = _size(self.path)
        while self.read() and self._position < end:
            pass

    @property
    def _opened(self) -> int:
        if self._descriptor is None:
            raise ValueError(f"{self.path} is not open")
        return self._descriptor

    def _open(self) -> bool:
        with suppress(OSError):
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self._position = self._size = 0
            self._part = _identity(self._rotated)
        return self._descriptor is not None

    def _missed(self, descriptor: int) -> bytes | None:
        """Find the place again after a rotation; return what went into the rotated part unread, or None.

        A rotation copies the front of the log into a new ``NAME.1``. Then the front is taken out of the file or,
        where the file system cannot do so, becomes a hole.
        """
        before, self._size = self._size, os.fstat(descriptor).st_size
        start = _data_start(descriptor, self._size)
        part = _identity(self._rotated)
        if start == 0 and part not in {self._part, None} and self._front_is_gone(descriptor, before):
            self._part = part
            moved = _size(self._rotated)
            unread = _from(self._rotated, self._position) if self._position < moved else b""
            self._position = max(0, self._position - moved)
            return unread
        if self._size < before:  # truncated, by somebody else
            self._position = 0
            return b""
        if start > self._position:
            unread = _from(self._rotated, _size(self._rotated) - (start - self._position))
            self._position = start
            return unread
        return None

    def _front_is_gone(self, descriptor: int, size_before: int) -> bool:
        """Whether the copy has been followed by the cut; the file may have grown again since."""
        with suppress(OSError), self._rotated.open("rb") as part:
            head = part.read(_HEAD)
            return self._size < size_before or os.pread(descriptor, len(head), 0) != head
        return False

    def _is_replaced(self, descriptor: int) -> bool:
        mine = os.fstat(descriptor)
        return _identity(self.path) not in {None, (mine.st_dev, mine.st_ino)}

    def _go_back(self, lines: int) -> None:
        """Take the place where the last `lines` lines begin; what of them is in the rotated part is given away.

        The cut between the two may be in the middle of a line.
        """
        descriptor = self._opened
        end = self._size = os.fstat(descriptor).st_size
        start = _data_start(descriptor, end)
        data = last_bytes(descriptor, lines, start=start, end=end)
        if len(data) == end - start and (missing := lines - data.count(b"\n")) > 0:
            data = _end_of(self._rotated, missing) + data
        wanted = b"".join(data.splitlines(keepends=True)[-lines:]) if lines else b""
        here = min(len(wanted), end - start)
        self._position = end - here
        self._lines.feed(wanted[: len(wanted) - here])


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _from(path: Path, position: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, position))
            return file.read()
    except OSError:
        return b""


def _end_of(path: Path, lines: int) -> bytes:
    try:
        with path.open("rb") as file:
            return last_bytes(file.fileno(), lines, start=0, end=os.fstat(file.fileno()).st_size)
    except OSError:
        return b""


def _data_start(descriptor: int, size: int) -> int:
    """Where the hole at the front ends; 0 is that there is none."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_DATA) if size else 0
    except OSError:
        return size
