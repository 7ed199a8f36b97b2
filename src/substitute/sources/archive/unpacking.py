"""A slot's files are made those of an archive.

All that is written lies in the slot, and is written as its user: a link that an app has made there leads nowhere that
its user could not go itself.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from substitute.core.model.errors import SourceError
from substitute.linux.users import acting_as
from substitute.sources.archive.entries import COPY, DIRECTORY, FILE, LINK, MARKER, entries
from substitute.sources.archive.marker import held, note

if TYPE_CHECKING:
    from collections.abc import Collection

    from substitute.linux.users import Account
    from substitute.sources.archive.entries import Entry
    from substitute.sources.archive.room import Room
    from substitute.sources.archive.store import Stored

_CHUNK = 1 << 20


class Unpacking:
    """One update of a slot to an archive."""

    def __init__(self, directory: Path, stored: Stored, become: Account | None) -> None:
        self._directory = directory
        self._stored = stored
        self._become = become

    def run(self, archive: IO[bytes], room: Room, *, clean: bool) -> None:
        """Do it. What the slot holds beside the archive stays, except with `clean`. Raises OSError, SourceError."""
        files = frozenset(self._stored.files)
        with acting_as(self._become):
            before, written = frozenset[str](), frozenset[str]()
            with suppress(FileNotFoundError):
                known = held(self._directory)
                before, written = known.files, known.written
            if not clean:
                self._require_no_conflict(before)
            note(self._directory, None, before | files, written)
            if clean:
                _empty(self._directory)
            else:
                _remove(self._directory, before - files)
        times: list[tuple[Path, float]] = []
        with closing(entries(archive, self._stored.name, room)) as found:
            for entry in found:
                with acting_as(self._become):
                    path = self._write(entry)
                    if entry.kind == DIRECTORY:
                        times.append((path, entry.modified))
        with acting_as(self._become):
            for path, modified in reversed(times):
                os.utime(path, (modified, modified))
            note(self._directory, self._stored.commit, files, written)

    def _require_no_conflict(self, before: Collection[str]) -> None:
        """Refuse to put a file where the app has made a directory, or a directory where it has made a file."""
        for name in self._stored.files:
            path = self._directory / name
            if path.is_dir() and not path.is_symlink():
                below = (Path(place, file) for place, _, files in os.walk(path) for file in files)
                if own := next((one for one in below if self._name(one) not in before), None):
                    raise self._conflict(own, f"in place of the directory {name}, the archive holds a file")
        places = {above for name in self._stored.files for above in _above(name)} | {
            *self._stored.directories
        }
        for name in places - set(before):
            path = self._directory / name
            if path.is_file() and not path.is_symlink():
                raise self._conflict(path, "in its place, the archive holds a directory")

    def _conflict(self, path: Path, why: str) -> SourceError:
        return SourceError(
            f"{self._directory} cannot be set to {self._stored.commit[:10]}.",
            fact=f"{path} is not of an archive, and {why}.",
            cure="Move it away, and deploy again.",
        )

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._directory))

    def _write(self, entry: Entry) -> Path:
        path = self._directory / entry.path
        _make_directory(path.parent, self._directory)
        if entry.kind == DIRECTORY:
            _make_directory(path, self._directory)
            path.chmod(entry.mode)
            return path
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)  # nothing of the app's is in it, that was seen before
        path.unlink(missing_ok=True)
        if entry.kind == LINK:
            path.symlink_to(entry.target)
        elif entry.kind == COPY:
            path.hardlink_to(self._directory / entry.target)
        elif entry.kind == FILE and entry.open:
            with entry.open() as content:
                _fill(path, content, entry.mode)
        os.utime(path, (entry.modified, entry.modified), follow_symlinks=False)
        return path


def _fill(path: Path, content: IO[bytes], mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        shutil.copyfileobj(content, file, _CHUNK)
        os.fchmod(file.fileno(), mode)


def _make_directory(path: Path, top: Path) -> None:
    """Make it and those above, up to `top`. What is there and is none, a link to one too, goes."""
    for step in [*reversed(path.relative_to(top).parents), path.relative_to(top)]:
        place = top / step
        if place == top:
            continue
        if place.is_symlink() or not place.is_dir():
            place.unlink(missing_ok=True)
            place.mkdir(mode=0o755)


def _above(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _remove(directory: Path, names: Collection[str]) -> None:
    """Remove these files, and the directories that are empty then."""
    places: set[str] = set()
    for name in names:
        path = directory / name
        if not any((directory / above).is_symlink() for above in _above(name)):
            with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                path.unlink()
            places.update(_above(name))
    for place in sorted(places, key=len, reverse=True):
        with suppress(OSError):
            (directory / place).rmdir()


def _empty(directory: Path) -> None:
    """Remove all but the marker; of a link the link alone."""
    for path in directory.iterdir():
        if path.name == MARKER:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
