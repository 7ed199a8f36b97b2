"""Brings a commit into a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Revision:
    """A commit that was chosen."""

    commit: str
    """Full hash."""
    subject: str
    """First line of the message."""
    how: str
    """Why it was chosen, as ``branch main of origin``."""
    tag: str = ""
    """A tag that leads to it, or empty."""


class Source(Protocol):
    """Brings a commit into a slot."""

    def resolve(
        self, directory: Path, commit: str | None, *, fetch: bool = True, ours: bool = False
    ) -> Revision:
        """Choose the commit: a branch of origin, a tag, any commit; None is the newest of the app's branch.

        Makes the clone in `directory` where there is none and, with `fetch`, gets what is new from the
        remote. The slot's files are not touched. An unreachable remote is a warning where the commit is
        there already. `ours` says that a clone was made in `directory` before: a broken one is set aside, aloud, and
        a fresh one takes its place. Raises UsageError for a commit that does not exist, is ambiguous or looks like an
        option, SourceError when the remote is needed and does not answer.
        """

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:
        """Make the tracked files those of `commit`, submodules too. With `clean` untracked ones go."""

    def returns(self, directory: Path, commit: str) -> bool:
        """Whether all files of the slot, untracked ones too, would be as they are after an update to `commit` and back.

        Never raises.
        """

    def go_back(self, directory: Path, commit: str, *, left: str) -> None:
        """Undo an update from `commit` to `left`, of which `returns` was true, whether that came to its end or not."""

    def current(self, directory: Path) -> str | None:
        """The commit that the slot's files are at, or None where there is no clone."""

    def untracked(self, directory: Path, names: Sequence[str]) -> list[str]:
        """Those of `names`, files of the slot, that are there and that its commit does not hold. Never raises."""

    def view(self, directory: Path, place: Path) -> Mapping[str, str]:
        """Variables by which git in a program of the deployer's sees the commits of the clone in `directory`.

        It obeys nothing that the clone's owner configured there. `place` is a directory for it, made where it is
        missing. Nothing where there is no clone.
        """
