"""Where versions come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError
from substitute.core.ports.source import Revision

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from tests.unit.fakes.world import World


@dataclass
class FakeSource:
    world: World

    def resolve(
        self,
        directory: Path,
        commit: str | None,
        *,
        fetch: bool = True,
        ours: bool = False,
        sha256: str | None = None,
    ) -> Revision:
        if fetch and not self.world.fetchable:
            raise SourceError("The remote does not answer.")
        return Revision(commit or "newest", "a change", "branch main of origin")

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:
        self.world.log.append(f"update {directory.name} {commit}")
        self.world.files[str(directory)] = commit

    def returns(self, directory: Path, commit: str) -> bool:
        return self.world.returns

    def go_back(self, directory: Path, commit: str, *, left: str) -> None:
        assert self.world.files[str(directory)] == left
        self.update(directory, commit, clean=False)

    def current(self, directory: Path) -> str | None:
        return self.world.files.get(str(directory))

    def contract(self, directory: Path, commit: str, *, since: str | None) -> str | None:
        return commit if commit in self.world.contracts else None

    def untracked(self, directory: Path, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in self.world.untracked]

    def restorable(self, directory: Path, name: str) -> bool:
        return False

    def hide(self, directory: Path, names: Sequence[str]) -> None:
        pass

    def written(self, directory: Path) -> list[str]:
        return []

    def overwrites(self, directory: Path, commit: str, names: Sequence[str]) -> list[str]:
        return []

    def mark(self, directory: Path, written_before: Sequence[str] | None = None) -> None:
        pass

    def is_marked(self, directory: Path) -> bool:
        return False

    def changed(self, directory: Path, before: str, commit: str) -> list[str] | None:
        return self.world.changed.get((before, commit))

    def absent(self, directory: Path, commit: str, paths: Sequence[str]) -> list[str]:
        return [path for path in paths if path in self.world.untracked]

    def view(self, directory: Path, place: Path) -> Mapping[str, str]:
        return {}

    def seal(self, directory: Path) -> None:
        self.world.log.append(f"seal {directory.name}")

    def remove(self, directory: Path) -> list[str] | None:
        self.world.log.append(f"remove {directory.name}")
        self.world.files.pop(str(directory), None)
        return self.world.written

    def retain(self, commits: Collection[str]) -> None:
        self.world.retained = set(commits)
