"""The archives that were deployed: kept, so that a version can be unpacked again when its file is gone.

One is named by the SHA-256 of its bytes; that of a directory by the SHA-256 of its content. So what was kept is what
was checked, whatever becomes of the file that was named.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tarfile
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from substitute.core.model.errors import UsageError
from substitute.io.files import private_directory, remove_unfinished, write_atomically
from substitute.sources.archive.entries import DIRECTORY, RefusedError, entries
from substitute.sources.archive.room import Room
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_CHUNK = 1 << 20
_ABOUT = ".json"


@dataclass(frozen=True)
class Stored:
    """An archive that is kept."""

    commit: str
    name: str
    """What its file was called."""
    files: tuple[str, ...]
    """All that is in it but directories."""
    directories: tuple[str, ...]


class Store:
    """The archives of one app."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def take_in(self, path: Path, *, unpacked_at: Path, sha256: str | None) -> Stored:
        """Copy the file or directory `path`, see that all in it is right, and keep it.

        `unpacked_at` is where there must be room for it. Raises UsageError for what cannot be deployed, OSError.
        """
        private_directory(self._directory)
        remove_unfinished(self._directory)
        copy = self._directory / f".taken.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            with copy.open("xb+") as archive:
                commit = _pack(path, archive) if path.is_dir() else _copied(path, archive)
                if sha256 and sha256.lower() != commit:
                    raise RefusedError(
                        path.name,
                        f"Its SHA-256 is {commit}, and not {sha256}.",
                        "It is not the archive that was meant, or was changed on its way: fetch it again.",
                    )
                found = _looked_through(archive, path.name, commit, Room(unpacked_at, archive.tell()))
                os.fsync(archive.fileno())
            about = json.dumps([found.name, found.files, found.directories])
            write_atomically(self._about(commit), about)
            copy.replace(self._directory / commit)
        finally:
            copy.unlink(missing_ok=True)
        return found

    def find(self, digits: str) -> list[str]:
        """The commits that begin so and are kept."""
        with suppress(FileNotFoundError):
            return sorted(
                file.stem
                for file in self._directory.iterdir()
                if file.suffix == _ABOUT and file.stem.startswith(digits) and file.with_suffix("").exists()
            )
        return []

    def about(self, commit: str) -> Stored:
        """What is known of one that is kept. Raises OSError."""
        name, files, directories = json.loads(self._about(commit).read_bytes())
        return Stored(commit, name, tuple(files), tuple(directories))

    @contextmanager
    def opened(self, commit: str) -> Iterator[IO[bytes]]:
        """Open the archive. Raises OSError."""
        with (self._directory / commit).open("rb") as archive:
            yield archive

    def retain(self, commits: Collection[str]) -> None:
        """Remove all others. Never raises."""
        for commit in self.find(""):
            if commit not in commits:
                with suppress(OSError):
                    self._about(commit).unlink()
                    (self._directory / commit).unlink()

    def _about(self, commit: str) -> Path:
        return self._directory / f"{commit}{_ABOUT}"


def _looked_through(archive: IO[bytes], name: str, commit: str, room: Room) -> Stored:
    archive.seek(0)
    kinds = {}
    with closing(entries(archive, name, room)) as found:
        for entry in found:
            kinds[entry.path] = entry.kind
            if entry.open:
                with entry.open() as content:
                    while content.read(_CHUNK):
                        pass
    files = tuple(path for path, kind in kinds.items() if kind != DIRECTORY)
    if not files:
        raise RefusedError(name, "It is empty.")
    return Stored(commit, name, files, tuple(path for path, kind in kinds.items() if kind == DIRECTORY))


def _copied(path: Path, archive: IO[bytes]) -> str:
    """Copy the file; its SHA-256."""
    digest, room = hashlib.sha256(), Room(Path(archive.name).parent)
    with path.open("rb") as source:
        while data := source.read(_CHUNK):
            room.take(len(data), path.name)
            digest.update(data)
            archive.write(data)
    return digest.hexdigest()


def _pack(directory: Path, archive: IO[bytes]) -> str:
    """Write all that is in `directory` as a tar file; the SHA-256 of its content.

    Of that: for each path, in the order of its bytes, its kind, whether it may be executed, its name, and its bytes,
    with their number. Times and owners are no part of it, so what was built twice alike is the same.
    """
    digest, room = hashlib.sha256(), Room(Path(archive.name).parent)
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for path in _below(directory):
            name = os.fsencode(path.relative_to(directory))
            info = tar.gettarinfo(path, os.fsdecode(name))
            seen = path.lstat()
            if not (stat.S_ISREG(seen.st_mode) or stat.S_ISDIR(seen.st_mode) or stat.S_ISLNK(seen.st_mode)):
                raise RefusedError(
                    directory.name, f"It holds {os.fsdecode(name)!r}, which is no file, directory or link."
                )
            tar.inodes = {}  # type: ignore[attr-defined]  # one file of two names is two files
            room.take(seen.st_size, directory.name)
            content = os.fsencode(info.linkname) if stat.S_ISLNK(seen.st_mode) else b""
            size = info.size if info.isreg() else len(content)
            kind = stat.S_IFMT(seen.st_mode) | (seen.st_mode & 0o100 if info.isreg() else 0)
            digest.update(b"%o %d %s %d\n%s" % (kind, len(name), name, size, content))
            if info.isreg():
                with path.open("rb") as stream:
                    tar.addfile(info, _Hashed(stream, digest))  # type: ignore[arg-type]  # it is read, no more
            else:
                tar.addfile(info)
    return digest.hexdigest()


def _below(directory: Path) -> list[Path]:
    """All that is in it, at any depth, in the order of the bytes of their paths."""
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        raise error

    for place, names, files in os.walk(directory, onerror=refuse):
        found += (Path(place, name) for name in (*names, *files))
    return sorted(found, key=lambda path: os.fsencode(path).split(b"/"))


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, stream: IO[bytes], digest: hashlib._Hash) -> None:
        self._stream = stream
        self._digest = digest

    def read(self, size: int) -> bytes:
        """As a file does."""
        data = self._stream.read(size)
        self._digest.update(data)
        return data


def require_outside(path: Path, root: Path) -> None:
    """Refuse a directory that holds the root, or is its own state. Raises UsageError."""
    real, root = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    if root.is_relative_to(real) or real.is_relative_to(root / "deploy"):
        raise UsageError(
            f"{path} cannot be deployed.",
            fact=f"The root of substitute, {root}, is in it."
            if root.is_relative_to(real)
            else "It is state.",
            cure="Name the directory that was built.",
        )
