"""The directory of a version that is kept no longer: what was made there goes, what was written there since stays."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.io.files import private_directory, write_atomically
from substitute.linux.users import acting_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.linux.users import Account

_OURS = frozenset({".git", "__pycache__"})
"""Directories that hold nothing of anybody's, whenever it was written."""


class Places:
    """The directories in which versions of an app are."""

    ours: frozenset[str] = frozenset()
    """Files of substitute's own in each of them, whenever they were written."""

    def __init__(self, state: Path, become: Account | None) -> None:
        """`state`: a directory for what is remembered of each. They are the property of `become`."""
        self._state = state
        self._owner = become

    def seal(self, directory: Path) -> None:
        """Remember what is in `directory`: see `core.ports.source.Source.seal`."""
        with acting_as(self._owner):
            known = "".join(f"{_identity(seen)}\n" for _, _, _, seen in _files(directory))
        private_directory(self._state)
        write_atomically(self._state / directory.name, known)

    def remove(self, directory: Path) -> list[str] | None:
        """Remove what was there when it was sealed: see `core.ports.source.Source.remove`."""
        seal = self._state / directory.name
        try:
            known = set(seal.read_text().splitlines())
        except FileNotFoundError:
            return None if os.path.lexists(directory) else []
        left = []
        with acting_as(self._owner):
            for place, name, descriptor, seen in _files(directory):
                path = Path(place, name).relative_to(directory)
                is_ours = str(path) in self.ours or _OURS.intersection(path.parts[:-1])
                if is_ours or _identity(seen) in known:
                    os.unlink(name, dir_fd=descriptor)
                else:
                    left.append(str(path))
            _remove_empty(directory)
        with suppress(OSError):
            directory.rmdir()
        seal.unlink()
        return sorted(left)


def _identity(seen: os.stat_result) -> str:
    # Not its ctime: that is another one as soon as it has one name more, or less.
    return f"{seen.st_ino} {seen.st_mtime_ns} {seen.st_size}"


def _files(directory: Path) -> Iterator[tuple[str, str, int, os.stat_result]]:
    """All files, and links, below it: where, their names, the descriptor of where, and what they are."""
    for place, directories, files, descriptor in os.fwalk(directory):
        for name in (*files, *directories):
            seen = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if not stat.S_ISDIR(seen.st_mode):
                yield place, name, descriptor, seen


def _remove_empty(directory: Path) -> None:
    for _, directories, _, descriptor in os.fwalk(directory, topdown=False):
        for name in directories:
            with suppress(OSError):
                os.rmdir(name, dir_fd=descriptor)
