"""Where a slot is made before it is a slot's, and how one is set aside: by names that nobody can have changed.

The directory around a slot may belong to the app's user, and what a clone is made in does. So each is opened once, and
all that follows is done in what was opened.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

from substitute.core.model.errors import SourceError, UsageError
from substitute.io.files import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from substitute.linux.users import Account

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Workplace:
    """A new directory of the user's beside the slot, gone at the end: an interruption leaves nothing like a clone."""

    def __init__(self, directory: Path, owner: Account | None) -> None:
        prefix = f".{directory.name}.cloning-"
        self._directory = directory
        self._name = f"{prefix}{os.urandom(4).hex()}"
        self._prefix = prefix
        self._owner = owner
        self.clone = directory.parent / self._name / "clone"
        """What is to become the slot."""

    def __enter__(self) -> Self:
        self._parent = os.open(self._directory.parent, _DIRECTORY)
        try:
            for left in os.listdir(self._parent):  # noqa: PTH208  # a path can't be what was opened
                if left.startswith(self._prefix):
                    self._remove(left)
            os.mkdir(self._name, 0o700, dir_fd=self._parent)
            self._place = os.open(self._name, _DIRECTORY, dir_fd=self._parent)
        except BaseException:
            os.close(self._parent)
            raise
        if self._owner:
            os.fchown(self._place, self._owner.uid, self._owner.gid)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._place)
        self._remove(self._name)
        os.close(self._parent)

    def publish(self) -> None:
        """Make `clone` the slot. Raises SourceError where that can't be done, or it is no directory of the user's."""
        slot = self._directory.name
        try:
            os.rename("clone", slot, src_dir_fd=self._place, dst_dir_fd=self._parent)
            seen = os.stat(slot, dir_fd=self._parent, follow_symlinks=False)
        except OSError as error:
            raise SourceError(f"{self._directory} cannot be made.", fact=f"{error.strerror}.") from error
        if self._owner and (not stat.S_ISDIR(seen.st_mode) or seen.st_uid != self._owner.uid):
            with suppress(OSError):
                os.rename(slot, "clone", src_dir_fd=self._parent, dst_dir_fd=self._place)
            raise SourceError(
                f"{self._directory} cannot be made.",
                fact=f"What {self._owner.name} made in {self.clone.parent} does not belong to that user.",
            )

    def _remove(self, name: str) -> None:
        remove_tree(name, ignore_errors=True, dir_fd=self._parent)  # follows no link


def require_owner(directory: Path, become: Account | None) -> None:
    """It must be the user's that works there: what root has built in it, that user could not change."""
    if become and directory.exists() and directory.stat().st_uid != become.uid:
        raise UsageError(
            f"{directory} does not belong to {become.name}, the user of the app.",
            cure=f"Move it away, and a new one is made; or: chown -R {become.name}: {directory}",
        )


def set_aside(directory: Path) -> Path:
    """Rename `directory` to ``NAME.broken``, in whose place nothing is left; return that. Raises OSError."""
    aside = directory.with_name(f"{directory.name}.broken")
    with _opened(directory.parent) as parent:
        with suppress(FileNotFoundError):
            remove_tree(aside.name, dir_fd=parent)
        os.rename(directory.name, aside.name, src_dir_fd=parent, dst_dir_fd=parent)
    return aside


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
