"""Brings a slot's submodules to what its commit says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError
from substitute.io.files import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.sources.git.program import GitProgram

_SYNC = ("submodule", "--quiet", "sync", "--recursive")
_UPDATE = ("submodule", "--quiet", "update", "--init", "--recursive", "--force")
_DEINIT = ("submodule", "--quiet", "deinit", "--force", "--all")
_CLEAN = ("submodule", "--quiet", "foreach", "--recursive", "git clean -ffdxq")
_BROKEN = "not a git repository"


def update_submodules(git: GitProgram, directory: Path, own: Path, *, clean: bool) -> None:
    """Make the submodules of `directory`, whose git directory is `own`, those of its commit.

    They stay untouched where a remote is needed and does not answer: SourceError.
    """
    failing = f"The submodules of {directory} cannot be updated."
    ended = git.run(directory, *_SYNC)
    if not ended.status:
        ended = git.run(directory, *_UPDATE, remote=True)
    if ended.status and _BROKEN in ended.err:
        # A clone of one of them was killed at its very beginning, and git takes what is left for whole.
        git.run(directory, *_DEINIT)
        with git.theirs():  # what leads there is theirs to change at any moment
            remove_tree(own / "modules", ignore_errors=True)
        ended = git.run(directory, *_UPDATE, remote=True)
    if ended.status:
        why = git.remote("").trouble(ended)
        raise SourceError(failing, fact=why.fact, cure=why.cure)
    if clean:
        git.demand(directory, *_CLEAN, failing=failing)
