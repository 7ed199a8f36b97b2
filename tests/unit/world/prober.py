"""Instances from outside, in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.environment import IN_A_RUN
from substitute.core.ports.prober import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.apps import Health
    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.prober import Connected, Page
    from tests.unit.world.instances import Instance
    from tests.unit.world.world import World


@dataclass
class ModelProber:
    world: World

    def holder(self, endpoint: Endpoint) -> str | None:
        instance = self._look(endpoint)
        return instance.name if instance else None

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        instance = self._look(endpoint)
        return instance.process == process if instance else None

    def listens(self, endpoint: Endpoint, process: Process) -> bool:
        return False

    def listening(self, process: Process) -> frozenset[Endpoint]:
        return frozenset()

    def connected(self, endpoint: Endpoint) -> Connected | None:
        return None

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

    def probe(self, endpoint: Endpoint, health: Health) -> Answer:
        self._look(endpoint)
        instance = self.world.on(endpoint)
        page = instance.command.removeprefix("serve ") if instance else ""
        good = self.world.is_ready(endpoint) and (health.kind == "tcp" or page == health.path)
        return Answer(good, "200" if good else "500")

    def bound(self, endpoint: Endpoint) -> frozenset[Endpoint]:
        return frozenset([endpoint])

    def fetch(self, endpoint: Endpoint, path: str, health: Health, *, limit: float) -> Answer:
        return self.probe(endpoint, health)

    def fetch_all(
        self, pages: Sequence[Page], *, at_once: int, limit: float, within: float
    ) -> Sequence[Answer | None]:
        return [self.fetch(one.endpoint, one.path, one.health, limit=limit) for one in pages]

    def is_elsewhere(self, process: Process, root: Path) -> bool:
        foreign = {one.process for one in self.world.foreign} | self.world.foreign_builds
        foreign |= self.world.foreign_runs
        return process in foreign

    def alive(self, process: Process) -> bool:
        self.world.look()
        runs = process in {self.world.deployer, *self.world.runs, *self.world.foreign_runs}
        return runs or self.world.with_process(process) is not None

    def age(self, process: Process) -> float:
        instance = self.world.with_process(process)
        return self.world.clock.time - instance.since if instance else 0.0

    def _look(self, endpoint: Endpoint) -> Instance | None:
        self.world.look(*(one.name for one in self.world.instances if one.endpoint == endpoint))
        return self.world.on(endpoint)
