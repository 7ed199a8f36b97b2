"""What an archive holds, entry by entry; nothing that could reach beyond the slot gets through.

An archive may be hostile or broken, and that must be known before the slot changes. So it is read twice: once to the
end, to see that all of it is right, and once to unpack it.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import posixpath
import shutil
import stat
import tarfile
import time
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from substitute.core.model.errors import UsageError
from substitute.linux.subprocesses import read_through
from substitute.sources.archive.room import Metered
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from _typeshed import WriteableBuffer

    from substitute.sources.archive.room import Room

FILE, DIRECTORY, LINK, COPY = "a file", "a directory", "a link", "a hard link"
MARKER = ".substitute-archive"
"""The file in a slot that says which archive it holds. No archive may hold one."""
_TAR_ENDS = b"\0" * 512
_NAME = 255
"""Bytes that a name may have."""
_HEADER = 1 << 20
"""Bytes that the name or the attributes of an entry may have."""
_BROKEN = (
    *(EOFError, OSError, ValueError, OverflowError),
    *(zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile),
)
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True)
class Entry:
    """One thing that an archive holds."""

    path: str
    """Relative to the slot, without ``.`` and ``..``."""
    kind: str
    mode: int
    """Permissions without setuid and the like; the owner can read and write, and nobody else write."""
    modified: float
    target: str = ""
    """Where a link leads, or the path of the entry that a hard link is the same file as."""
    open: Callable[[], IO[bytes]] | None = None
    """Of a file: its content. It must be read before the next entry is asked for."""


class RefusedError(UsageError):
    """An archive that is not unpacked; nothing was changed."""

    def __init__(self, name: str, fact: str, cure: str = "Make it again, and deploy that.") -> None:
        super().__init__(f"{name} cannot be deployed.", fact=fact, cure=cure)


def entries(archive: IO[bytes], name: str, room: Room) -> Generator[Entry, None, None]:
    """What `archive` holds, in its order, to its end. `name` is what messages call it.

    Raises RefusedError where it is broken, would not fit, or holds what does not stay in the slot.
    """
    found: dict[str, str] = {}
    with _judged(name):
        for entry in _read(archive, name, room):
            room.count(name)
            _require_inside(entry, found, name)
            found[entry.path] = entry.kind
            yield entry


@contextmanager
def _judged(name: str) -> Iterator[None]:
    """What reading fails with is the archive's fault."""
    try:
        yield
    except NotImplementedError as error:  # a way of compressing that Python does not know
        raise RefusedError(name, f"It cannot be read: {error}.") from error
    except RuntimeError as error:
        raise RefusedError(name, f"It is encrypted: {error}.") from error
    except _BROKEN as error:
        raise RefusedError(name, f"It is broken: {error or type(error).__name__}.") from error


class _Content(io.RawIOBase):
    """What is in a file of an archive."""

    def __init__(self, stream: IO[bytes] | None, name: str) -> None:
        super().__init__()
        self._stream = stream
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        with _judged(self._name):
            data = self._stream.read(len(view)) if self._stream else b""
        view[: len(data)] = data
        return len(data)


def _require_inside(entry: Entry, found: dict[str, str], name: str) -> None:
    """Refuse what would not stay in the slot; what lies around `entry` is noted in `found`."""
    path = entry.path
    parts = path.split("/")
    if "\0" in path + entry.target or any(len(os.fsencode(part)) > _NAME for part in parts):
        raise RefusedError(name, f"It holds {path[:100]!r}, which is no name of a file.")
    if path.startswith("/") or ".." in parts:
        raise RefusedError(name, f"It holds {path!r}, which does not lie in the slot.")
    if parts[0] == MARKER:
        raise RefusedError(name, f"It holds {path!r}, a name that is taken.")
    for end in range(1, len(parts)):
        above = "/".join(parts[:end])
        if found.setdefault(above, DIRECTORY) != DIRECTORY:
            raise RefusedError(name, f"It holds {path!r}, but {above!r} is {found[above]}.")
    before = found.get(path)
    if before and before != entry.kind and DIRECTORY in {before, entry.kind}:
        raise RefusedError(name, f"It holds {path!r} twice: as {before} and as {entry.kind}.")
    if entry.kind == LINK:
        _require_link_inside(entry, len(parts) - 1, name)
    if entry.kind == COPY and (entry.target == path or found.get(entry.target) not in {FILE, COPY}):
        raise RefusedError(name, f"{path!r} is a link to {entry.target!r}, which is no file in it.")


def _require_link_inside(entry: Entry, depth: int, name: str) -> None:
    # Only at its beginning may it lead upwards: behind another link, `..` is somewhere else.
    steps = [step for step in entry.target.split("/") if step not in {"", "."}]
    upwards = next((at for at, step in enumerate(steps) if step != ".."), len(steps))
    if entry.target.startswith("/") or not entry.target or upwards > depth or ".." in steps[upwards:]:
        raise RefusedError(
            name,
            f"The link {entry.path!r} leads to {entry.target!r}, which may lie outside of the slot.",
            "Have its links lead to files beside them. What must be shared by all versions belongs into `shared`.",
        )


def _read(archive: IO[bytes], name: str, room: Room) -> Iterator[Entry]:
    begins = archive.read(8)
    archive.seek(0)
    if begins.startswith(_ZIP):
        yield from _in_zip(archive, name, room)
        return
    compressed = next((how for magic, how in _MAGIC.items() if begins.startswith(magic)), None)
    with _plain(archive, compressed, name) as plain:
        yield from _in_tar(Metered(plain, room, name), name)


@contextmanager
def _plain(archive: IO[bytes], compressed: str | None, name: str) -> Iterator[IO[bytes]]:
    """What is in a file that is compressed so."""
    if compressed != "zstd":
        unpack: dict[str | None, Callable[[IO[bytes]], Any]] = {
            "gzip": lambda stream: gzip.GzipFile(fileobj=stream, mode="rb"),
            "bzip2": bz2.BZ2File,
            "xz": lzma.LZMAFile,
        }
        yield unpack[compressed](archive) if compressed else archive
        return
    if not (zstd := shutil.which("zstd")):
        raise RefusedError(
            name, "It is compressed with zstd, which is not installed.", "`apt install zstd`, and try again."
        )
    with read_through([zstd, "--decompress", "--stdout", "--quiet"], archive) as plain:
        yield plain


class _Info(tarfile.TarInfo):
    """A header; one of a long name is kept in memory, so it has a limit."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Info:
        found = super().frombuf(buf, encoding, errors)
        told = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, b"L", b"K")
        if found.type in told and found.size > _HEADER:
            raise tarfile.ReadError("a name or its attributes are too long")
        return found


def _in_tar(plain: Metered, name: str) -> Iterator[Entry]:
    try:
        tar = tarfile.open(  # noqa: SIM115  # it is closed below
            fileobj=plain, mode="r|", tarinfo=_Info, errors="surrogateescape"
        )
    except tarfile.ReadError as error:
        fact = f"It is neither a tar file (plain, gzip, bzip2, xz, zstd) nor a zip file: {error}."
        raise RefusedError(name, fact) from error
    with tar:
        for info in tar:
            if info.issparse():  # what is not in the archive is written all the same
                plain.room.take(info.size, name)
            yield from _tar_entry(tar, info, name)
            tar.members = []  # type: ignore[attr-defined]  # it would keep all of them
    if plain.last(len(_TAR_ENDS)) != _TAR_ENDS:
        raise tarfile.ReadError("its end is missing")


def _tar_entry(tar: tarfile.TarFile, info: tarfile.TarInfo, name: str) -> Iterator[Entry]:
    path = _tidy(info.name)
    if path == ".":
        return
    if info.isdir():
        yield Entry(path, DIRECTORY, _mode(info.mode | 0o111), _moment(info.mtime))
    elif info.issym():
        yield Entry(path, LINK, 0o777, _moment(info.mtime), info.linkname)
    elif info.islnk():
        yield Entry(path, COPY, _mode(info.mode), _moment(info.mtime), _tidy(info.linkname))
    elif info.isfile():
        yield Entry(
            path,
            FILE,
            _mode(info.mode),
            _moment(info.mtime),
            open=lambda: _opened(tar.extractfile(info), name),
        )
    else:
        raise RefusedError(
            name, f"It holds {path!r}, which is no file, directory or link (type {info.type!r})."
        )


def _opened(stream: IO[bytes] | None, name: str) -> IO[bytes]:
    return cast("IO[bytes]", _Content(stream, name))


def _in_zip(archive: IO[bytes], name: str, room: Room) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as found:
        for info in found.infolist():
            path, mode = _tidy(info.filename), info.external_attr >> 16
            modified = time.mktime((*info.date_time, 0, 0, -1))

            def opened(info: zipfile.ZipInfo = info) -> IO[bytes]:
                return _opened(cast("IO[bytes]", Metered(found.open(info), room, name)), name)

            if path == ".":
                continue
            if info.is_dir():
                yield Entry(path, DIRECTORY, _mode(mode | 0o755), modified)
            elif stat.S_ISLNK(mode):
                with opened() as stream:
                    target = stream.read(_HEADER).decode(errors="surrogateescape")
                yield Entry(path, LINK, 0o777, modified, target)
            elif stat.S_IFMT(mode) in {0, stat.S_IFREG}:
                yield Entry(path, FILE, _mode(mode or 0o644), modified, open=opened)
            else:
                raise RefusedError(name, f"It holds {path!r}, which is no file, directory or link.")


def _tidy(path: str) -> str:
    """Without what says nothing: ``./``, a slash at the end. What leads upwards or begins at the root stays."""
    if ".." in path.split("/"):
        return path
    return posixpath.normpath(path) if path else "."


def _moment(seconds: float) -> float:
    """A time that any file can have."""
    return min(max(seconds, 0.0), float(1 << 33))


def _mode(mode: int) -> int:
    return mode & 0o755 | 0o600
