"""The files of slots, and of what they share, as the app's user reaches them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

from substitute.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path


class Kind(Enum):
    """What a path names."""

    LINK = "a link"
    DIRECTORY = "a directory"
    OTHER = "a file"


@dataclass(frozen=True)
class Seen:
    """Something that is there."""

    kind: Kind
    empty: bool = False
    """A directory with nothing in it, or a link that leads nowhere."""
    target: Path | None = None
    """What a link names, which may be a link again."""
    end: Path | None = None
    """Where a link leads in the end."""
    readable: bool = True
    """Whether the app's user may read a file."""
    by_all: bool = False
    """Whether everybody may."""


class Files(Protocol):
    """The files of slots, and of what they share, as the app's user reaches them. All raise OSError.

    Each change is done in one step: whoever is killed leaves it done or not done.
    """

    def open(self, place: Path) -> None:
        """Have the directory `place` of ``deploy/<app>``: the app's user owns it, and whoever knows its name gets in.

        Raises UsageError where it is another user's.
        """

    def look(self, path: Path) -> Seen | None:
        """What is at `path`, not followed where it is a link; None where nothing is."""

    def real(self, path: Path) -> Path:
        """Where `path` lies, when all links on the way to it are followed."""

    def link(self, path: Path, leads: Path) -> None:
        """Make `path` a link to `leads`, with the directories that lead to it; another link there is replaced."""

    def make(self, path: Path) -> None:
        """Make the directory `path`."""

    def touch(self, path: Path) -> None:
        """Make the empty file `path`, for its user alone, with the directories that lead to it."""

    def move(self, path: Path, to: Path) -> None:
        """Move what is at `path`, which nobody uses, to `to`, where nothing is, or nothing but an empty directory."""

    def exchange(self, path: Path, to: Path, leads: Path) -> None:
        """Do the same to what is in use, and put a link to `leads` into its place in the same step.

        What has it open goes on with it. A SQLite database keeps its log, and no transaction is cut.
        """

    def remove(self, path: Path) -> None:
        """Remove what is at `path`, with all that is in it. Nothing is removed through a link."""
