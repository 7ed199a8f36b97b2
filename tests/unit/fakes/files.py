"""The files of the person who deploys."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.ports.files import Seen


class NoFiles:
    """Nothing is there, and nothing can be made."""

    def open(self, place: Path) -> None:
        raise AssertionError(place)

    def look(self, path: Path) -> Seen | None:
        return None

    def real(self, path: Path) -> Path:
        return path

    def link(self, path: Path, leads: Path) -> None:
        raise AssertionError(path)

    def make(self, path: Path) -> None:
        raise AssertionError(path)

    def touch(self, path: Path) -> None:
        raise AssertionError(path)

    def move(self, path: Path, to: Path) -> None:
        raise AssertionError(path)

    def exchange(self, path: Path, to: Path, leads: Path) -> None:
        raise AssertionError(path)

    def remove(self, path: Path) -> None:
        raise AssertionError(path)
