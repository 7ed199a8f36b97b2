"""What is asked of running instances, in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.environment import IN_A_RUN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint
    from tests.unit.world.world import World


@dataclass
class ModelInstances:
    world: World

    def alive(self, process: Process) -> bool:
        self.world.look()
        runs = process in {self.world.deployer, *self.world.runs, *self.world.foreign_runs}
        return runs or self.world.with_process(process) is not None

    def age(self, process: Process) -> float:
        instance = self.world.with_process(process)
        return self.world.clock.time - instance.since if instance else 0.0

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        self.world.look(*(one.name for one in self.world.instances if one.endpoint == endpoint))
        instance = self.world.on(endpoint)
        return instance.process == process if instance else None

    def answering(self, name: str, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        return endpoints

    def listens(self, endpoint: Endpoint, process: Process) -> bool:
        return False

    def listening(self, process: Process) -> frozenset[Endpoint]:
        return frozenset()

    def marked(
        self, marks: Mapping[str, str], users: Iterable[str | None], root: Path
    ) -> Mapping[Process, str]:
        runs = {
            process: "sh"
            for process, place in self.world.runs.items()
            if "SUBSTITUTE_PROCESS" not in marks and str(place) == marks.get("SUBSTITUTE_DIRECTORY")
        }
        if number := marks.get(IN_A_RUN):
            known = self.world.journal.run(int(number))
            return {process: name for process, name in runs.items() if known and known.process == process}
        return runs

    def is_elsewhere(self, process: Process, root: Path) -> bool:
        foreign = {one.process for one in self.world.foreign} | self.world.foreign_builds
        foreign |= self.world.foreign_runs
        return process in foreign
