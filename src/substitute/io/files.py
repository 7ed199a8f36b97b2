"""Files that are there whole or not at all, whenever the machine stops; and those that others may have made."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNFINISHED = r"(?s)\..+\.(?P<pid>[0-9]+)\.[0-9a-f]{8}"
"""What a file is called until it is whole: a hidden name, with the process that writes it."""


def write_atomically(path: Path, content: str | bytes, *, mode: int = 0o600, durably: bool = True) -> None:
    """Replace `path` with `content` in one step that survives a power loss.

    A reader sees the old content or the new, never a part. The file gets exactly `mode`, whatever the
    umask. Raises OSError; then the old file is untouched.

    Not `durably` waits for no disk: for what is written anew after a power loss, which may leave the old or nothing.
    """
    _replace(path, content, mode, durably=durably)
    if durably:
        _sync_directory(path.parent)


def write_all_atomically(contents: Mapping[Path, str]) -> None:
    """Do it to several files of one directory, in their order; the disk is waited for once at their end.

    Raises OSError; then those before are replaced.
    """
    for path, content in contents.items():
        _replace(path, content, 0o600)
    for directory in {path.parent for path in contents}:
        _sync_directory(directory)


def _replace(path: Path, content: str | bytes, mode: int, *, durably: bool = True) -> None:
    data = content.encode() if isinstance(content, str) else content
    temporary = _beside(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            if durably:
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_regular(path: Path, *, limit: int = 1 << 20) -> bytes:
    """What is in `path`, at most `limit` bytes. Raises OSError, also where it is no regular file.

    A FIFO would be waited for, for ever; so nothing of a directory that somebody else fills is opened in another way.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # asked first: to open a device may do something
        raise OSError(errno.EINVAL, "It is not a regular file", str(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "It is not a regular file", str(path))
        return stream.read(limit)


def replace_link(link: Path, target: Path | str) -> None:
    """Point the symbolic link `link` at `target` (as written, so it may be relative) in one step.

    A link or a file of that name is replaced. Raises OSError where it is a directory.
    """
    temporary = _beside(link)
    temporary.symlink_to(target)
    try:
        temporary.replace(link)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(link.parent)


def remove_tree(path: Path | str, *, ignore_errors: bool = False, dir_fd: int | None = None) -> None:
    """Remove a directory with all that is in it; no link is followed. Raises OSError, unless with `ignore_errors`."""
    import shutil  # noqa: PLC0415  # slow to import, with all that it can compress, and a deployment removes little

    shutil.rmtree(path, ignore_errors=ignore_errors, dir_fd=dir_fd)


def private_directory(path: Path, *, through: bool = False) -> Path:
    """Make `path`, with its parents, a directory that only its owner may enter (0700); return it.

    `through`: it is left alone where others may pass through it to what they know the name of (0711).
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o777 not in ({0o700, 0o711} if through else {0o700}):
        path.chmod(0o700)
    return path


def remove_unfinished(directory: Path, of: str = "") -> None:
    """Remove what `write_atomically` and `replace_link` left in `directory` when they were killed in their middle.

    Of the file called `of`, or of all. What a living process still writes is left alone. Never raises.
    """
    with suppress(OSError):
        for file in directory.iterdir():
            unfinished = file.name.startswith(f".{of}") and re.fullmatch(_UNFINISHED, file.name)
            if unfinished and not Path("/proc", unfinished["pid"]).exists():
                with suppress(OSError):
                    file.unlink()


def _beside(path: Path) -> Path:
    # A name in the same directory: only there is a rename atomic.
    remove_unfinished(path.parent, path.name)
    return path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")


def _sync_directory(directory: Path) -> None:
    # Without this the rename itself may be lost with the power.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
