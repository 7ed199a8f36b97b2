"""The files of slots, and of what they share, as the app's user reaches them (see `core.ports.files.Files`)."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import UsageError
from substitute.core.ports.files import Kind, Seen
from substitute.io.files import replace_link
from substitute.linux.users import account, acting_as

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from substitute.core.model.apps import App

_AT_CWD = -100
_NOREPLACE, _EXCHANGE = 1, 2
_CANNOT = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}
"""What a file system says that can't exchange two names."""
_PASSED = 0o711
"""Whoever knows a name in a directory of this mode gets at it, and nobody can list what is there."""
_PRIVATE = ("hooks", "log", "git")
"""What the deployer alone has to do with, of all that is kept of an app."""


class SlotFiles:
    """The files of one app. What its user could turn into a trap is only touched as that user."""

    def __init__(self, app: App) -> None:
        self._root = app.root
        self._become = account(app.user)

    def open(self, place: Path) -> None:
        """Have a directory of the app's user (see `core.ports.files.Files.open`)."""
        if not place.exists():
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                place.mkdir(mode=0o755)
                if self._become and self._become.is_another:
                    os.chown(place, self._become.uid, self._become.gid, follow_symlinks=False)
        if self._become and place.stat().st_uid != self._become.uid:
            raise UsageError(
                f"{place} does not belong to {self._become.name}, the user of the app.",
                cure=f"Type `chown -R {self._become.name}: {place}`, and deploy again.",
            )
        _close_the_others(self._root / "deploy")
        for passed in (place.parent, self._root / "deploy"):
            _chmod(passed, _PASSED)

    def look(self, path: Path) -> Seen | None:
        """What is at `path` (see `core.ports.files.Files.look`)."""
        with self._theirs():
            try:
                mode = path.lstat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                return None
            if stat.S_ISLNK(mode):
                target = _real(path.parent / path.readlink())
                return Seen(
                    Kind.LINK, empty=not path.exists(), target=target, end=Path(os.path.realpath(path))
                )
            if stat.S_ISDIR(mode):
                return Seen(Kind.DIRECTORY, empty=not any(path.iterdir()))
            readable = not stat.S_ISREG(mode) or _is_readable(path)
            return Seen(Kind.OTHER, readable=readable, by_all=bool(mode & stat.S_IROTH))

    def real(self, path: Path) -> Path:
        """Where `path` lies (see `core.ports.files.Files.real`)."""
        with self._theirs():
            return _real(path)

    def link(self, path: Path, leads: Path) -> None:
        """Make `path` a link to `leads` (see `core.ports.files.Files.link`)."""
        with self._theirs():
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_link(path, self._text(path, leads))

    def make(self, path: Path) -> None:
        """Make the directory `path` (see `core.ports.files.Files.make`)."""
        with self._theirs():
            path.mkdir(parents=True, exist_ok=True)

    def touch(self, path: Path) -> None:
        """Make an empty file (see `core.ports.files.Files.touch`)."""
        with self._theirs():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)

    def move(self, path: Path, to: Path) -> None:
        """Move what nobody uses (see `core.ports.files.Files.move`)."""
        from substitute.linux.sqlite_files import is_database, settle_database  # noqa: PLC0415  rarely needed

        with self._theirs():
            if is_database(path):
                settle_database(path)
            _make_room(to)
            try:
                _rename(path, to, _NOREPLACE)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    _carry(path, to)
                elif error.errno in _CANNOT and not os.path.lexists(to):
                    path.rename(to)
                else:
                    raise

    def exchange(self, path: Path, to: Path, leads: Path) -> None:
        """Move what is in use, and leave a link (see `core.ports.files.Files.exchange`)."""
        from substitute.linux.sqlite_files import between_transactions  # noqa: PLC0415  rarely needed

        with self._theirs():
            _make_room(to)
            with between_transactions(path, to):
                text = self._text(path, leads)
                to.symlink_to(text)
                try:
                    _rename(path, to, _EXCHANGE)
                except OSError as error:
                    to.unlink()
                    if error.errno not in _CANNOT or path.is_dir():
                        raise
                    os.link(path, to)
                    replace_link(path, text)

    def remove(self, path: Path) -> None:
        """Remove what is at `path` (see `core.ports.files.Files.remove`)."""
        with self._theirs():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _theirs(self) -> AbstractContextManager[None]:
        return acting_as(self._become)

    def _text(self, path: Path, leads: Path) -> str:
        """What a link at `path` says: a root that is moved keeps its links, unless the slot lies elsewhere."""
        place, end = _real(path), _real(leads)
        root = Path(os.path.realpath(self._root))
        inside = place.is_relative_to(root) and end.is_relative_to(root)
        return os.path.relpath(end, place.parent) if inside else str(end)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path.parent)) / path.name


def _close_the_others(deploy: Path) -> None:
    """What ``deploy`` alone has protected until now, is protected by itself."""
    for app in (one for one in deploy.iterdir() if one.is_dir() and not one.is_symlink()):
        _chmod(app, app.stat().st_mode & 0o711)
        for name in _PRIVATE:
            if (app / name).is_dir():
                _chmod(app / name, 0o700)


def _chmod(directory: Path, mode: int) -> None:
    if stat.S_IMODE(directory.stat().st_mode) != mode:
        directory.chmod(mode)


def _is_readable(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError:
        return False
    return True


def _make_room(to: Path) -> None:
    """Make the directories that lead to `to`; a link that leads nowhere and an empty directory there are nothing."""
    to.parent.mkdir(parents=True, exist_ok=True)
    if to.is_symlink():
        if not to.exists():
            to.unlink()
    elif to.is_dir():
        to.rmdir()


def _carry(path: Path, to: Path) -> None:
    """Move to another file system: what has arrived in full takes its name, and only then is the original removed."""
    half = to.with_name(f".{to.name}.half")
    if half.is_dir() and not half.is_symlink():
        shutil.rmtree(half)  # a copy of what is still there
    if path.is_dir() and not path.is_symlink():
        shutil.copytree(path, half, symlinks=True)
    else:
        shutil.copy2(path, half, follow_symlinks=False)
    os.sync()
    half.rename(to)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _rename(path: Path, to: Path, flags: int) -> None:
    """renameat2(2), which Python does not have."""
    import ctypes  # noqa: PLC0415  rarely needed

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_CWD, os.fsencode(path), _AT_CWD, os.fsencode(to), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path), None, str(to))
