"""Git LFS: a commit holds pointers in the place of large files, which are fetched by a program of its own.

Without that program git writes the pointers into the slot, and the app would serve them. So a commit that has any is
not deployed then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from substitute.linux.subprocesses import Captured
    from substitute.sources.git.clone import Clones
    from substitute.sources.git.program import GitProgram

_PROGRAM = "git-lfs"
_NOT_WANTED = "GIT_LFS_SKIP_SMUDGE"
"""Git LFS's own variable for: leave the pointers, somebody else fetches the files."""
_FILTER = {
    "filter.lfs.clean": "git-lfs clean -- %f",
    "filter.lfs.smudge": "git-lfs smudge -- %f",
    "filter.lfs.process": "git-lfs filter-process",
    "filter.lfs.required": "true",
}
"""What `git lfs install` would configure."""
_ATTRIBUTES = ("grep", "--quiet", "-e", "filter=lfs")
_POINTERS = ("grep", "-z", "--name-only", "-I", "-e", "^version https://git-lfs.github.com/spec/")
_IN_SUBMODULES = ("submodule", "--quiet", "foreach", "--recursive")
_OF_SUBMODULES = (
    "git grep --name-only -I -e '^version https://git-lfs.github.com/spec/' -- ':(attr:filter=lfs)' "
    '| sed "s|^|$displaypath/|"'
)
_NAMED = 2


class LargeFiles:
    """The large files of a repository's commits."""

    def __init__(self, git: GitProgram, clones: Clones, repo: str) -> None:
        self._git = git
        self._clones = clones
        self._repo = repo

    def fetch(self, directory: Path, commit: str) -> None:
        """Have all that `commit` points to in the clone; what another clone has is linked. No file of the slot changes.

        Raises SourceError where that is not possible.
        """
        pointers = self._pointers(directory, commit)
        if not pointers:
            return
        self._require_program(commit, pointers)
        # By these, git-lfs finds what the clones of other versions have.
        objects = ":".join(str(one / ".git" / "objects") for one in self._clones.siblings(directory))
        more = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": objects} if objects else {}
        ended = self._git.run(directory, "lfs", "fetch", "origin", commit, remote=True, more=more)
        if ended.status:
            raise self._not_fetched(commit, ended, self._repo)

    def prepare(self, directory: Path, commit: str) -> bool:
        """Have git write the files and not the pointers when it checks `commit` out; whether there are any.

        Where they were fetched, or a clone was made from such a one, git-lfs has a directory.
        """
        places = [directory, *self._clones.siblings(directory)]
        with self._git.theirs():
            used = any((place / ".git" / "lfs").exists() for place in places)
        if not used or not self._pointers(directory, commit):
            return False
        self.fetch(directory, commit)
        self._git.configure(_FILTER)
        return True

    def complete(self, directory: Path) -> None:
        """Replace the pointers that an earlier checkout has left, which had no git-lfs."""
        self._git.demand(
            directory, "lfs", "checkout", failing=f"The files of Git LFS in {directory} cannot be written."
        )

    def complete_submodules(self, directory: Path, commit: str) -> None:
        """Fetch what the submodules of `commit` point to, and write it in the place of the pointers.

        Which commit of a submodule is meant is known only when the slot has it, so this comes after the update.
        Raises SourceError where that is not possible.
        """
        with self._git.theirs():
            has_submodules = (directory / ".gitmodules").is_file()
        if not has_submodules or self._git.has(_NOT_WANTED):
            return
        pointers = self._git.run(directory, *_IN_SUBMODULES, _OF_SUBMODULES).out.splitlines()
        if not pointers:
            return
        self._require_program(commit, pointers)
        self._git.configure(_FILTER)
        ended = self._git.run(directory, *_IN_SUBMODULES, "git lfs pull", remote=True)
        if ended.status:
            raise self._not_fetched(commit, ended, "")

    def _require_program(self, commit: str, pointers: Sequence[str]) -> None:
        if not self._git.finds(_PROGRAM):
            raise SourceError(
                f"{commit[:10]} keeps files in Git LFS, and git-lfs is not installed.",
                fact=f"The slot would hold pointers in their place: {_told(pointers)}.",
                cure="Install it (`apt install git-lfs`), and try again.",
            )

    def _not_fetched(self, commit: str, ended: Captured, repo: str) -> SourceError:
        why = self._git.remote(repo).trouble(ended)
        return SourceError(
            f"The files that {commit[:10]} keeps in Git LFS cannot be fetched.",
            fact=why.fact,
            cure=why.cure,
        )

    def _pointers(self, directory: Path, commit: str) -> Sequence[str]:
        if (
            self._git.has(_NOT_WANTED)
            or self._git.run(directory, *_ATTRIBUTES, commit, "--", ":(glob)**/.gitattributes").status
        ):
            return ()
        found = self._git.run(directory, *_POINTERS, commit).out.split("\0")[:-1]
        return [name.partition(":")[2] for name in found]


def _told(pointers: Sequence[str]) -> str:
    more = len(pointers) - _NAMED
    return ", ".join(pointers[:_NAMED]) + (f" and {more} more" if more > 0 else "")
