"""Logs read while they are written: across restarts, switches and rotations, each line once."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.lines import Lines
from substitute.logs import read_tail

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_PAUSE = 0.1
_BLOCK = 1 << 16


def follow(logs: Mapping[Path, int], on_line: Callable[[Path, str], None], *, pause: float = _PAUSE) -> None:
    """Give `on_line` the last lines of each log, as many as `logs` says, then whatever is written.

    Returns never: Ctrl-C comes through. A log that does not exist yet is waited for.
    """
    followers = [Follower(path, lines, on_line) for path, lines in logs.items()]
    while True:
        found = [follower.read() for follower in followers]
        if not any(found):
            time.sleep(pause)


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
            self._position, self._size, missing = self._tail(lines)
            for line in read_tail(self._rotated, missing):
                on_line(path, line)

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

        A rotation copies the front of the log into a new ``NAME.1``. Then the file gets shorter by that or,
        where the file system cannot do so, its front becomes a hole. What only got shorter was truncated.
        """
        before, self._size = self._size, os.fstat(descriptor).st_size
        if self._size < before:
            earlier, self._part = self._part, _identity(self._rotated)
            if self._part in {earlier, None}:
                self._position = 0
                return b""
            moved = _size(self._rotated)
            unread = _from(self._rotated, self._position) if self._position < moved else b""
            self._position = max(0, self._position - moved)
            return unread
        start = _next_data(descriptor, self._position, self._size)
        if start > self._position:
            unread = _from(self._rotated, _size(self._rotated) - (start - self._position))
            self._position, self._part = start, _identity(self._rotated)
            return unread
        return None

    def _is_replaced(self, descriptor: int) -> bool:
        mine = os.fstat(descriptor)
        return _identity(self.path) not in {None, (mine.st_dev, mine.st_ino)}

    def _tail(self, lines: int) -> tuple[int, int, int]:
        """Where the last `lines` lines begin, where they end, and how many more are in the rotated part."""
        descriptor = self._opened
        end = os.fstat(descriptor).st_size
        start = _next_data(descriptor, 0, end)
        position, data = end, b""
        while position > start and data.count(b"\n") <= lines:
            position = max(start, position - _BLOCK)
            data = os.pread(descriptor, end - position, position)
        found = data.splitlines(keepends=True)
        wanted = found[-lines:] if lines else []
        return end - sum(map(len, wanted)), end, lines - len(wanted)


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


def _next_data(descriptor: int, position: int, size: int) -> int:
    """Where, at or after `position`, there is no hole."""
    if position >= size:
        return position
    try:
        return os.lseek(descriptor, position, os.SEEK_DATA)
    except OSError:
        return size
