"""Brings a commit into a slot: one of git, or what was built elsewhere and is named by its SHA-256."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Revision:
    """A commit that was chosen."""

    commit: str
    """Full hash: git's, or the SHA-256 of an archive."""
    subject: str
    """First line of the message, or the name of the archive."""
    how: str
    """Why it was chosen, as ``branch main of origin``."""
    tag: str = ""
    """A tag that leads to it, or empty."""


class Source(Protocol):
    """Brings a commit into a slot."""

    def resolve(
        self,
        directory: Path,
        commit: str | None,
        *,
        fetch: bool = True,
        ours: bool = False,
        sha256: str | None = None,
    ) -> Revision:
        """Choose the commit: a branch of origin, a tag, any commit; None is the newest of the app's branch.

        Makes the clone in `directory` where there is none and, with `fetch`, gets what is new from the
        remote. The slot's files are not touched. An unreachable remote is a warning where the commit is
        there already. `ours` says that a clone was made in `directory` before: a broken one is set aside, aloud, and
        a fresh one takes its place. Raises UsageError for a commit that does not exist, is ambiguous or looks like an
        option, SourceError when the remote is needed and does not answer.

        Of archives it is the path of a file or directory, which is taken in, or the beginning of the SHA-256 of one
        that was; `sha256` is what it must have. UsageError where that is another one, or it is broken or hostile.
        """

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:
        """Make the tracked files those of `commit`, submodules too. With `clean` untracked ones go.

        A place that is not there is made; `commit` was resolved in another one.
        """

    def returns(self, directory: Path, commit: str) -> bool:
        """Whether all files of the slot, untracked ones too, would be as they are after an update to `commit` and back.

        Never raises.
        """

    def go_back(self, directory: Path, commit: str, *, left: str) -> None:
        """Undo an update from `commit` to `left`, of which `returns` was true, whether that came to its end or not."""

    def current(self, directory: Path) -> str | None:
        """The commit that the slot's files are at, or None where there is no clone."""

    def contract(self, directory: Path, commit: str, *, since: str | None) -> str | None:
        """The first commit with the trailer ``Substitute-Contract: yes`` among those that `commit` has and `since` not.

        Where `since` is None or not known there, `commit` alone is looked at. Raises SourceError where that can't be
        read: nothing may then be taken for harmless.
        """

    def untracked(self, directory: Path, names: Sequence[str]) -> list[str]:
        """Those of `names`, files of the slot, that are there and that its commit does not hold. Never raises."""

    def restorable(self, directory: Path, name: str) -> bool:
        """Whether the slot's commit holds all that lies at `name` as it is there. Never raises: False when in doubt."""

    def hide(self, directory: Path, names: Sequence[str]) -> None:
        """Have git miss nothing of its own at `names` until the next update: something else is in its place."""

    def written(self, directory: Path) -> list[str]:
        """The files of the slot that the app wrote, which means after the last `mark`.

        Those that are ignored do not count, except SQLite databases. All that git and builds did not make count where
        nothing was marked. None where there is no clone.
        """

    def overwrites(self, directory: Path, commit: str, names: Sequence[str]) -> list[str]:
        """Those of `names`, files that were `written`, that an update to `commit` would overwrite."""

    def mark(self, directory: Path, written_before: Sequence[str] | None = None) -> None:
        """Note that what is in the slot now was made by git and builds, except what the app had written before.

        None: those that were noted so before. Nothing where there is no clone.
        """

    def is_marked(self, directory: Path) -> bool:
        """Whether anything was marked in the slot."""

    def changed(self, directory: Path, before: str, commit: str) -> Sequence[str] | None:
        """The paths of all files that differ between two commits; None where that can't be told. Never raises."""

    def absent(self, directory: Path, commit: str, paths: Sequence[str]) -> list[str]:
        """Those of `paths` that the commit does not hold, as files or directories. Never raises.

        What lies in a submodule, or behind a link, is not looked at, and counts as there.
        """

    def view(self, directory: Path, place: Path) -> Mapping[str, str]:
        """Variables by which git in a program of the deployer's sees the commits of the clone in `directory`.

        It obeys nothing that the clone's owner configured there. `place` is a directory for it, made where it is
        missing. Nothing where there is no clone.
        """

    def seal(self, directory: Path) -> None:
        """Remember what is in a place, now that it is built: all that, and no more, is `remove`d."""

    def remove(self, directory: Path) -> list[str] | None:
        """Remove a place and what was in it when it was sealed; what was written there since stays: its names.

        None, and nothing is removed, where it never was. Begun and not ended, it can be begun again. Raises OSError.
        """

    def retain(self, commits: Collection[str]) -> None:
        """Forget what is kept for other commits alone, if anything is. Never raises."""
