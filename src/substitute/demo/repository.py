"""A git repository whose commits are nobody's, whatever git is configured to on this machine."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from substitute.core.model.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {
    "GIT_AUTHOR_NAME": "demo",
    "GIT_AUTHOR_EMAIL": "demo@localhost",
    "GIT_COMMITTER_NAME": "demo",
    "GIT_COMMITTER_EMAIL": "demo@localhost",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


class Repository:
    """A repository with a work tree, made in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        """Run git in it; what it printed is returned."""
        environment = {**os.environ, **IDENTITY}
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=self.directory,
                env=environment,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
        except FileNotFoundError as error:
            raise UsageError("The demonstration needs git.", cure="Install git.") from error
        return done.stdout.strip()

    def commit_all(self, message: str) -> str:
        """Commit what is in the work tree; the commit is returned."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.head()

    def head(self) -> str:
        """The newest commit."""
        return self.git("rev-parse", "HEAD")
