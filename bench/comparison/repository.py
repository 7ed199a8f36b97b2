"""The git repository that every procedure takes its versions from."""

from __future__ import annotations

import shutil
from pathlib import Path

from substitute.demo import repository

_APP = Path(__file__).parent / "app"


class Repository(repository.Repository):
    """The app in a git repository; `commit` makes a version."""

    def __init__(self, directory: Path) -> None:
        self._version = 0
        shutil.copytree(_APP, directory, ignore=shutil.ignore_patterns("__pycache__"))
        super().__init__(directory)
        self.commit()

    def commit(self, *, broken: bool = False) -> None:
        """Commit the next version; a `broken` one crashes at boot."""
        self._version += 1
        (self.directory / "version.txt").write_text("broken\n" if broken else f"{self._version}\n")
        self.commit_all(f"version {self._version}")

    def clone(self, directory: Path) -> None:
        """Clone it, as a procedure without substitute keeps it."""
        self.git("clone", "--quiet", str(self.directory), str(directory))
