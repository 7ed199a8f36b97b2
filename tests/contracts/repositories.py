"""A developer's repository, and the slots that get its commits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from substitute.demo import repository
from substitute.sources.git.source import Git

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {"PATH": os.environ["PATH"], **repository.IDENTITY, "GIT_CONFIG_SYSTEM": os.devnull}


class Repository(repository.Repository):
    """A developer's repository, which the slots clone."""

    def commit(self, content: str, file: str = "page") -> str:
        (self.directory / file).parent.mkdir(parents=True, exist_ok=True)
        (self.directory / file).write_text(content)
        return self.commit_all(f"Say {content}")


class Place:
    """Two slots, a repository, and what was said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repository = Repository(root / "origin")
        self.first = self.repository.commit("one")
        self.a, self.b = root / "shop_a", root / "shop_b"
        self.notices: list[str] = []
        self.warnings: list[str] = []

    def source(self, branch: str | None = None, repo: str | None = None, **environment: str) -> Git:
        return Git(
            repo or str(self.repository.directory),
            branch,
            lambda: [self.a, self.b],
            {**IDENTITY, **environment},
            self.notices.append,
            self.warnings.append,
        )

    def lose_the_remote(self) -> None:
        self.repository.directory.rename(self.root / "elsewhere")


def page(directory: Path) -> str:
    return (directory / "page").read_text()
