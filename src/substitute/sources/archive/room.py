"""How much may be unpacked: what the disk has room for, and no more than an archive can honestly hold."""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING

from substitute.core.model.errors import SourceError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import WriteableBuffer

_SPARE = 64 << 20
"""Bytes that are left to the disk."""
_SMALL, _RATIO = 1 << 30, 200
"""What unpacks to less is no bomb; what is more, and so many times the archive, is one."""
_ENTRIES = 2_000_000
_CHUNK = 1 << 20
_LAST = 4096
"""Bytes that are remembered."""


class Room:
    """Counts what is taken of the disk around `place`. `packed`: bytes of the archive that it comes from."""

    def __init__(self, place: Path, packed: int | None = None) -> None:
        there = place
        while not there.exists():
            there = there.parent
        disk = os.statvfs(there)
        self._disk = there
        self._bytes = max(0, disk.f_bavail * disk.f_frsize - _SPARE)
        self._entries = min(disk.f_favail or _ENTRIES, _ENTRIES)
        self._honest = None if packed is None else max(_SMALL, packed * _RATIO)
        self._taken = 0

    def take(self, size: int, name: str) -> None:
        """Take room for `size` bytes. Raises SourceError where there is none, UsageError for what is a bomb."""
        self._taken += size
        if self._honest is not None and self._taken > self._honest:
            raise UsageError(
                f"{name} cannot be deployed.",
                fact=f"It unpacks to more than {_RATIO} times its size: it is taken for a decompression bomb.",
                cure="Deploy it as a directory, if it is meant so.",
            )
        if self._taken > self._bytes:
            raise SourceError(
                f"There is no room for {name}.",
                fact=f"It unpacks to more than the {self._bytes >> 20} MiB that are free around {self._disk}.",
                cure="Make room, and deploy it again.",
            )

    def count(self, name: str) -> None:
        """Take room for one file more."""
        self._entries -= 1
        if self._entries < 0:
            raise SourceError(
                f"There is no room for {name}.", fact="It holds more files than there is room for."
            )


class Metered(io.RawIOBase):
    """A stream of which each byte that is read is counted."""

    def __init__(self, stream: IO[bytes], room: Room, name: str) -> None:
        super().__init__()
        self._stream = stream
        self._name = name
        self._last = b""
        self.room = room

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """As `io.RawIOBase` has it."""
        view = memoryview(buffer)
        data = self._stream.read(len(view))
        view[: len(data)] = data
        if data:
            self._last = (self._last + data)[-_LAST:]
        self.room.take(len(data), self._name)
        return len(data)

    def last(self, size: int) -> bytes:
        """Read to the end, which shows whether it is whole; the last `size` bytes."""
        while self.read(_CHUNK):
            pass
        return self._last[-size:]
