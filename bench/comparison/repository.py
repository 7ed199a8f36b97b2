"""The git repository that every procedure takes its versions from."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_APP = Path(__file__).parent / "app"
_IDENTITY = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "bench",
    "GIT_AUTHOR_EMAIL": "bench@localhost",
    "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench@localhost",
}


class Repository:
    """The app in a git repository; `commit` makes a version."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._version = 0
        shutil.copytree(_APP, directory, ignore=shutil.ignore_patterns("__pycache__"))
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()

    def commit(self, *, broken: bool = False) -> None:
        """Commit the next version; a `broken` one crashes at boot."""
        self._version += 1
        (self.directory / "version.txt").write_text("broken\n" if broken else f"{self._version}\n")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"version {self._version}")

    def clone(self, directory: Path) -> None:
        """Clone it, as a procedure without substitute keeps it."""
        self.git("clone", "--quiet", str(self.directory), str(directory))

    def git(self, *arguments: str) -> None:
        """Run git in it."""
        environment = {**os.environ, **_IDENTITY}
        subprocess.run(["git", *arguments], cwd=self.directory, env=environment, check=True)
