"""Where versions come from in the model."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError
from substitute.core.ports.source import Revision
from tests.unit.world.files import NAME, TRACKED
from tests.unit.world.versions import CONTRACT, Files

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from tests.unit.world.world import World


@dataclass
class ModelSource:
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
        self.world.deed(f"resolve {commit}", SourceError("The remote does not answer."))
        return Revision(commit or "v1", "a change", "branch main of origin")

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:
        self.world.deed(f"update {directory.name} to {commit}", SourceError("git failed."))
        self.world.rules.touched(directory)
        directory.mkdir(exist_ok=True)
        held = self.world.files.get(directory)
        self.world.files[directory] = Files(commit, held.built if held else "")
        self.world.data.track(directory, commit)

    def go_back(self, directory: Path, commit: str, *, left: str) -> None:
        self.update(directory, commit, clean=False)

    def returns(self, directory: Path, commit: str) -> bool:
        self.world.look()
        return directory in self.world.files

    def contract(self, directory: Path, commit: str, *, since: str | None) -> str | None:
        self.world.look()
        return commit if commit == CONTRACT else None

    def untracked(self, directory: Path, names: Sequence[str]) -> list[str]:
        return []

    def restorable(self, directory: Path, name: str) -> bool:
        self.world.look()
        return self.world.data.contents.get(directory / name, frozenset()) <= {TRACKED}

    def hide(self, directory: Path, names: Sequence[str]) -> None:
        self.world.deed(f"hide {names} in {directory.name}", SourceError("git failed."))

    def written(self, directory: Path) -> list[str]:
        self.world.look()
        return [NAME] if self.world.data.contents.get(directory / NAME, frozenset()) - {TRACKED} else []

    def overwrites(self, directory: Path, commit: str, names: Sequence[str]) -> list[str]:
        held = self.world.files.get(directory)
        return list(names) if commit == "v3" or (held and held.version == "v3") else []

    def mark(self, directory: Path, written_before: Sequence[str] | None = None) -> None:
        self.world.deed(f"mark {directory.name}", SourceError("git failed."))

    def is_marked(self, directory: Path) -> bool:
        return True

    def changed(self, directory: Path, before: str, commit: str) -> list[str] | None:
        return None

    def absent(self, directory: Path, commit: str, paths: Sequence[str]) -> list[str]:
        return []

    def current(self, directory: Path) -> str | None:
        held = self.world.files.get(directory)
        return held.version if held else None

    def view(self, directory: Path, place: Path) -> Mapping[str, str]:
        return {}

    def seal(self, directory: Path) -> None:
        self.world.deed(f"seal {directory.name}", PermissionError(13, "Permission denied"))

    def remove(self, directory: Path) -> list[str] | None:
        self.world.rules.touched(directory)
        self.world.rules.removed(directory)
        self.world.files[directory] = Files("half removed")
        self.world.deed(f"remove half of {directory.name}", PermissionError(13, "Permission denied"))
        self.world.files.pop(directory, None)
        shutil.rmtree(directory, ignore_errors=True)
        self.world.deed(f"remove {directory.name}")
        return []

    def retain(self, commits: Collection[str]) -> None:
        self.world.deed("retain", OSError(5, "Input/output error"))
