"""Logs that their writers own: read from the end, and rotated without losing a byte.

The writer appends (``O_APPEND``) and knows nothing of it. What is oldest is copied to ``NAME.1``, then exactly those
bytes are taken out of the file's front: with ``FALLOC_FL_COLLAPSE_RANGE`` (ext4, xfs, f2fs) or, where the file
system cannot, by punching a hole, which frees the space and leaves the length.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 10 << 20
"""Bytes past which a log is rotated."""
KEPT = 5
_BLOCK = 1 << 16
"""A multiple of every file system's block, as collapsing asks for."""
_LONG = 8192
"""Bytes of a line that are shown in any case, however many lines are asked for."""
_AT_LEAST = 1 << 18
"""Bytes that may be looked at for even one line."""
_FAR = 1 << 30
_COLLAPSE, _PUNCH_KEEPING_SIZE = 0x08, 0x03


def rotate_where_large(log: Path, *, limit: int = LIMIT) -> bool:
    """Rotate `log` where it holds more than `limit` bytes; True if it did. An OSError costs the rotation alone."""
    with suppress(OSError):
        descriptor = os.open(log, os.O_RDWR | os.O_CLOEXEC)
        try:
            start = _data_start(descriptor)
            size = os.fstat(descriptor).st_size - start
            if size > limit and _can_be_cut(descriptor):
                _rotate(log, descriptor, start, size // _BLOCK * _BLOCK)
                return True
        finally:
            os.close(descriptor)
    return False


def _rotate(log: Path, descriptor: int, start: int, length: int) -> None:
    copy = log.with_name(f".{log.name}.copy")  # until it is whole, which it will not be on a full disk
    try:
        _copy(descriptor, start, length, copy)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    for number in range(KEPT, 1, -1):
        with suppress(FileNotFoundError):
            log.with_name(f"{log.name}.{number - 1}").replace(log.with_name(f"{log.name}.{number}"))
    copy.replace(log.with_name(f"{log.name}.1"))
    if start == 0 and _fallocate(descriptor, _COLLAPSE, 0, length):
        return
    _fallocate(descriptor, _PUNCH_KEEPING_SIZE, 0, start + length)


def _copy(source: int, start: int, length: int, copy: Path) -> None:
    copy.unlink(missing_ok=True)
    target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        done = 0
        while done < length:
            done += os.sendfile(target, source, start + done, length - done)
    finally:
        os.close(target)


def _can_be_cut(descriptor: int) -> bool:
    """Whether its file system can punch holes: tried far behind its end, where there is nothing to lose.

    Else the same bytes would be copied each time, and never taken out.
    """
    return _fallocate(descriptor, _PUNCH_KEEPING_SIZE, os.fstat(descriptor).st_size + _FAR, _BLOCK)


def _fallocate(descriptor: int, mode: int, offset: int, length: int) -> bool:
    import ctypes  # noqa: PLC0415  once a log is large

    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.fallocate(descriptor, mode, ctypes.c_int64(offset), ctypes.c_int64(length))
    return bool(done == 0)


def _data_start(descriptor: int) -> int:
    """Where the bytes begin that are not yet rotated away."""
    try:
        return os.lseek(descriptor, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole
            return os.fstat(descriptor).st_size
        return 0


def read_tail(log: Path, lines: int) -> list[str]:
    """The last `lines` of a log, across its rotated part; a missing one is empty. Of a very long line, its end."""
    found: list[bytes] = []
    for path in (log, log.with_name(f"{log.name}.1")):
        found = _tail(path, lines) + found
        if len(found) >= lines:
            break
    return [line.decode(errors="replace") for line in found[-lines:]] if lines > 0 else []


def _tail(path: Path, lines: int) -> list[bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        end = os.fstat(descriptor).st_size
        return last_bytes(descriptor, lines, start=_data_start(descriptor), end=end).splitlines()[-lines:]
    finally:
        os.close(descriptor)


def last_bytes(descriptor: int, lines: int, *, start: int, end: int) -> bytes:
    """The bytes before `end` that hold its last `lines`, not from before `start`; no more than so many lines need.

    A log may have no line break at all: each byte is read once, and a line that is longer than `_LONG` may be cut.
    """
    start = max(start, end - max(lines * _LONG, _AT_LEAST)) if lines > 0 else end
    position, breaks, blocks = end, 0, []
    while position > start and breaks <= lines:
        step = min(_BLOCK, position - start)
        position -= step
        blocks.append(os.pread(descriptor, step, position))
        breaks += blocks[-1].count(b"\n")
    return b"".join(reversed(blocks))
