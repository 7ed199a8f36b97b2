"""Commands that somebody types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.programs import Process
from substitute.core.ports.commands import Finished
from substitute.core.ports.one_offs import Input

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.unit.fakes.world import World


@dataclass
class FakeOneOffs:
    """Commands that run until they are ended."""

    world: World
    given: Input = Input.NONE

    def myself(self) -> Process:
        return self._born("substitute")

    def is_at_terminal(self) -> bool:
        return False

    def input(self) -> Input:
        return self.given

    def attached(
        self,
        argv: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        on_start: Callable[[Process], None],
        user: str | None = None,
    ) -> Finished:
        on_start(self._born(argv[0]))
        self.world.log.append(f"run {' '.join(argv)} in {directory.name}")
        return Finished(self.world.build_status, ())

    def logged(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        directory: Path,
        environment: Mapping[str, str],
        on_start: Callable[[Process], None],
        user: str | None = None,
        timeout: float | None = None,
    ) -> Finished:
        return self.attached(argv, directory=directory, environment=environment, on_start=on_start)

    def end(self, process: Process, *, timeout: float) -> bool:
        self.world.running = {name: one for name, one in self.world.running.items() if one != process}
        return False

    def _born(self, name: str) -> Process:
        self.world.pids += 1
        self.world.running[name] = Process(self.world.pids, self.world.pids, "boot")
        return self.world.running[name]
