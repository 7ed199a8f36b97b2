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
        if not any([follower.read() for follower in followers]):  # a list: every one reads
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
        if self._open():
            self._position, missing = self._tail(lines)
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
        replaced = self._is_replaced(
            descriptor
        )  # asked first: what the old file got until then is read below
        data = os.pread(descriptor, _BLOCK, self._position)
        # Looked at after the reading: had a rotation come before it, `data` is from the wrong place.
        if missed := self._missed(descriptor, read=len(data)):
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
            self._position = 0
        return self._descriptor is not None

    def _missed(self, descriptor: int, *, read: int) -> bytes:
        """Find the place again after a rotation; return what went into the rotated part unread.

        A rotation moves the front of the log into ``NAME.1``. The file gets shorter by that, or where the file
        system cannot do so, its front becomes a hole.
        """
        size = os.fstat(descriptor).st_size
        if size < self._position:
            moved = _size(self._rotated)
            unread = _from(self._rotated, self._position) if self._position < moved else b""
            self._position = max(0, self._position - moved)
            return unread
        start = _next_data(descriptor, self._position, size)
        if read and start > self._position:
            unread = _from(self._rotated, _size(self._rotated) - (start - self._position))
            self._position = start
            return unread
        return b""

    def _is_replaced(self, descriptor: int) -> bool:
        try:
            there = self.path.stat()
        except OSError:
            return False
        mine = os.fstat(descriptor)
        return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino)

    def _tail(self, lines: int) -> tuple[int, int]:
        """Where the last `lines` lines begin, and how many of them are in the rotated part."""
        descriptor = self._opened
        end = os.fstat(descriptor).st_size
        start = _next_data(descriptor, 0, end)
        position, data = end, b""
        while position > start and data.count(b"\n") <= lines:
            position = max(start, position - _BLOCK)
            data = os.pread(descriptor, end - position, position)
        found = data.splitlines(keepends=True)
        wanted = found[-lines:] if lines else []
        return end - sum(map(len, wanted)), lines - len(wanted)


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
