"""What is asked of running instances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint
    from tests.unit.fakes.world import World


@dataclass
class FakeInstances:
    world: World

    def alive(self, process: Process) -> bool:
        return process in self.world.running.values()

    def age(self, process: Process) -> float:
        return 1.0

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        running = self.world.running.get(self.world.name_on(endpoint.port))
        return None if running is None else running == process

    def answering(self, name: str, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        return endpoints

    def listens(self, endpoint: Endpoint, process: Process) -> bool:
        return False

    def listening(self, process: Process) -> frozenset[Endpoint]:
        return frozenset(self.world.listening)

    def marked(
        self, marks: Mapping[str, str], users: Iterable[str | None], root: Path
    ) -> Mapping[Process, str]:
        return dict.fromkeys(self.world.left.get(marks["SUBSTITUTE_DIRECTORY"], ()), "sleep")

    def is_elsewhere(self, process: Process, root: Path) -> bool:
        return process in self.world.elsewhere
