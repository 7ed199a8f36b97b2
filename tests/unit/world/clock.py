"""The model's time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.world.instances import Instance
    from tests.unit.world.world import World


class Clock:
    """Sleeping moves it, and so, a little, does every call; what is due `after` some seconds is then done."""

    def __init__(self) -> None:
        self.time = 0.0
        self.due: list[tuple[float, Callable[..., None], tuple[Instance, ...]]] = []

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        for due in [due for due in self.due if due[0] <= self.time]:
            self.due.remove(due)
            due[1](*due[2])

    def after(self, seconds: float, act: Callable[..., None], *whom: Instance) -> None:
        self.due.append((self.time + seconds, act, whom))


@dataclass
class ModelClock:
    """The deployer's view of it: one that was killed waits for nothing."""

    world: World

    def now(self) -> float:
        return 1_000_000 + self.world.clock.time

    def monotonic(self) -> float:
        return self.world.clock.time

    def sleep(self, seconds: float) -> None:
        self.world.look()
        self.world.clock.sleep(seconds)
