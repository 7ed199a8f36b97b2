"""Commands that somebody types, and those of crons, in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.environment import IN_A_RUN
from substitute.core.model.errors import RuntimeFailedError
from substitute.core.ports.commands import Finished
from substitute.core.ports.one_offs import Input

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import Process
    from tests.unit.world.world import World


@dataclass
class ModelOneOffs:
    """A command runs on while others are typed: who has started it was killed, and cannot note its end."""

    world: World

    def myself(self) -> Process:
        self.world.look()
        return self.world.deployer

    def is_at_terminal(self) -> bool:
        return True

    def input(self) -> Input:
        return Input.NONE

    def attached(
        self,
        argv: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        on_start: Callable[[Process], None],
        user: str | None = None,
    ) -> Finished:
        self.world.deed(f"run {argv[0]} in {directory.name}")
        process = self.world.new_process()
        on_start(process)
        self.world.runs[process] = directory
        self.world.die()
        raise AssertionError

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
        number = int(environment[IN_A_RUN])
        self.world.deed(f"run {argv[-1]} in {directory.name}", RuntimeFailedError("It cannot be started."))
        process = self.world.new_process()
        on_start(process)
        self.world.rules.cron_begun(number)
        self.world.runs[process] = directory
        try:
            self.world.deed(f"wait for {argv[-1]}")
        finally:
            del self.world.runs[process]
        return Finished(0, ())

    def end(self, process: Process, *, timeout: float) -> bool:
        self.world.deed(f"end the command {process.pid}")
        self.world.end_run(process)
        return False
