"""Which files of a slot somebody has changed since a time."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MADE_AGAIN = frozenset({".git", "__pycache__", "node_modules", ".venv", "venv"})
"""Directories in which nobody keeps anything."""


def files_at(directory: Path, name: str, *, passing: frozenset[str] = frozenset()) -> Iterator[str]:
    """All that lies at or below `name`, but not in a directory called as `passing` says. Links are not followed."""
    place = directory / name
    if not place.is_dir() or place.is_symlink():
        if os.path.lexists(place):
            yield name.rstrip("/")
        return
    for at, inner, files in os.walk(place, onerror=_refuse):
        links = [one for one in inner if Path(at, one).is_symlink()]
        inner[:] = [one for one in inner if one not in passing]
        yield from (str(Path(at, one).relative_to(directory)) for one in (*files, *links))


def is_later(path: Path, since: int) -> bool:
    """Whether it is a file that was changed since, in nanoseconds; nobody can set this time."""
    with suppress(OSError):
        seen = path.lstat()
        return stat.S_ISREG(seen.st_mode) and seen.st_ctime_ns > since
    return False


def _refuse(error: OSError) -> None:
    raise error
