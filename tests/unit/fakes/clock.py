"""A clock that does not wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeClock:
    """Sleeping moves it; `at` runs something when a time is reached."""

    def __init__(self) -> None:
        self.time = 0.0
        self.at: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return 1_000_000 + self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        for moment, act in [due for due in self.at if due[0] <= self.time]:
            self.at.remove((moment, act))
            act()
