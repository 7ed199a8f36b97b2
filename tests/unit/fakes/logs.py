"""What instances write."""

from __future__ import annotations


class FakeLog:
    def lines(self, *, ended: bool = False) -> list[str]:
        return []


class Written:
    """A log that has `lines` when it is first looked at."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def lines(self, *, ended: bool = False) -> list[str]:
        found, self._lines = self._lines, []
        return found
