"""A slot's files are made those of a commit, and changed back."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError
from substitute.io.files import read_regular, remove_tree
from substitute.sources.git import written
from substitute.sources.git.submodules import update_submodules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from substitute.sources.git.program import GitProgram

_HALF = "substitute-update"
"""In the clone's own directory while its files change."""


class Checkout:
    """The files of slots that are clones."""

    def __init__(self, git: GitProgram) -> None:
        self._git = git

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:
        """Make the tracked files those of `commit` (see `core.ports.source.Source.update`)."""
        checkout = ("checkout", "--quiet", "--force", "--detach", "--no-recurse-submodules", commit)
        with self._git.theirs():
            own = git_directory(directory)
            (own / _HALF).touch()
        written.show(self._git, directory, own)
        self._git.demand(directory, *checkout, failing=f"{directory} cannot be set to {commit[:10]}.")
        if clean:
            self._git.demand(directory, "clean", "-ffdxq", failing=f"{directory} cannot be cleaned.")
        with self._git.theirs():
            has_submodules = (directory / ".gitmodules").is_file()
        if has_submodules:
            update_submodules(self._git, directory, own, clean=clean)
        with self._git.theirs():
            (own / _HALF).unlink(missing_ok=True)

    def is_half_done(self, directory: Path) -> bool:
        """Whether an update did not come to its end; also where that cannot be seen."""
        with suppress(OSError), self._git.theirs():
            return (git_directory(directory) / _HALF).exists()
        return True

    def returns(self, directory: Path, commit: str) -> bool:
        """No tracked file differs from the commit, and what `commit` adds lies nowhere where something is already."""
        status = (
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--no-renames",
            "--ignore-submodules=none",
            "-z",
        )
        if self._git.demand(directory, *status, failing=f"What changed in {directory} can't be read."):
            return False
        changes = self._names(directory, "diff-tree", "-r", "--diff-filter=AT", "HEAD", commit, kinds=True)
        kinds, names = changes[::2], changes[1::2]
        if "T" in kinds:
            return False
        first = self._first_parts(directory, "HEAD", names)
        with self._git.theirs():
            modules = (directory / ".gitmodules").exists()
            return not (modules or any(os.path.lexists(directory / one) for one in first))

    def go_back(self, directory: Path, commit: str, *, left: str) -> None:
        """Undo an update to `left`; one that did not come to its end has left files that git does not know."""
        first = self._firsts(directory, commit, left)
        with self._git.theirs():
            for one in first:
                path = directory / one
                if any(parent.is_symlink() for parent in _between(path, directory)):
                    continue  # git writes nothing through a link: it is not of the update
                if path.is_dir() and not path.is_symlink():
                    remove_tree(path)
                else:
                    path.unlink(missing_ok=True)
        self.update(directory, commit, clean=False)

    def current(self, directory: Path) -> str | None:
        """The commit that the files are at; None where an update is unfinished, or was never begun."""
        with self._git.theirs():
            own = git_directory(directory)
            if (own / _HALF).exists() or not (own / "index").exists():
                return None
            with suppress(OSError):
                head = read_regular(own / "HEAD").decode("ascii", errors="replace").strip()
                if len(head) in {40, 64} and not head.startswith("ref:"):
                    return head
        return self._git.run(directory, "rev-parse", "--verify", "--quiet", "HEAD").out.strip() or None

    def untracked(self, directory: Path, names: Sequence[str]) -> list[str]:
        """Read the tree of HEAD. Whether a file is there is seen as the slot's user."""
        try:
            with self._git.theirs():
                there = [name for name in names if os.path.lexists(directory / name) and name[:1] != "-"]
            known = self._names(directory, "ls-tree", "HEAD", *there) if there else []
        except (OSError, SourceError):
            return []
        return [name for name in there if name not in known]

    def _firsts(self, directory: Path, commit: str, other: str) -> set[str]:
        """What `other` adds to `commit`, each by the first part of its path that is no directory of `commit`."""
        added = self._names(directory, "diff-tree", "-r", "--diff-filter=A", commit, other)
        return self._first_parts(directory, commit, added)

    def _first_parts(self, directory: Path, commit: str, added: Sequence[str]) -> set[str]:
        """The first part of each path of `added` that is no directory of `commit`."""
        known = set(self._names(directory, "ls-tree", "-r", "-d", commit)) if added else set()
        found = set()
        for name in added:
            parts = name.split("/")
            paths = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
            found.add(next((path for path in paths if path not in known), name))
        return found

    def _names(self, directory: Path, command: str, *arguments: str, kinds: bool = False) -> list[str]:
        """Paths; with `kinds` each behind the letter of its change."""
        options = ["--name-status" if kinds else "--name-only", "-z"]
        options += [] if command == "ls-tree" else ["--no-renames"]
        failing = f"What changes in {directory} can't be read."
        return self._git.demand(directory, command, *options, *arguments, failing=failing).split("\0")[:-1]


def git_directory(directory: Path) -> Path:
    """The directory in which git keeps what it knows of the one in `directory`."""
    own = directory / ".git"
    if own.is_file():  # a worktree, or a submodule
        target = os.fsdecode(read_regular(own)).removeprefix("gitdir:").strip()
        return directory / target
    return own


def _between(path: Path, directory: Path) -> Iterator[Path]:
    """The directories on the way from `directory`, which is not among them, to `path`."""
    parent = path.parent
    while parent != directory:
        yield parent
        parent = parent.parent
