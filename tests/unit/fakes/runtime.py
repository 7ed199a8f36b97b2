"""Keeps instances running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Inspection, Process, Stopped
from substitute.core.model.slots import Endpoint
from tests.unit.fakes.logs import FakeLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import BuildLimits, Limits, Program
    from tests.unit.fakes.world import World


@dataclass
class FakeRuntime:
    world: World

    def start(self, program: Program) -> Process:
        if program.name in self.world.running:
            raise RuntimeFailedError(f"{program.name} runs already.")
        self.world.pids += 1
        process = Process(self.world.pids, self.world.pids, "boot")
        commit = self.world.files.get(str(program.directory), "")
        self.world.log.append(f"start {program.name}")
        self.world.programs[program.name] = program
        if self.world.boots(commit):
            self.world.running[program.name] = process
            self.world.answering[program.name] = self.world.healthy(commit)
        return process

    def inspect(self, name: str) -> Inspection:
        return Inspection(self.world.running.get(name), "exit status 1", wanted=name in self.world.running)

    def stop(self, name: str, process: Process | None, *, timeout: float, signal: str = "SIGTERM") -> Stopped:
        if name in self.world.running:
            endpoint = Endpoint("127.0.0.1", self.world.port_of(name))
            assert not self.world.shares.get(endpoint), f"{name} was stopped while it gets requests"
            self.world.log.append(f"stop {name}")
            self.world.running.pop(name)
        return Stopped(killed=name in self.world.stubborn, seconds=0.0)

    def terminate(self, name: str, process: Process | None, *, signal: str = "SIGTERM") -> None:
        self.world.log.append(f"terminate {name}")
        told = self.world.running.get(name)

        def end() -> None:
            if self.world.running.get(name) == told:
                self.world.crash(name)

        if name not in self.world.stubborn:
            self.world.clock.at.append((self.world.clock.time + 1.5, end))

    def freeze(self, name: str) -> None:
        raise NotImplementedError

    def thaw(self, name: str) -> None:
        pass

    def trace(self, name: str) -> Process | None:
        return None

    def kept(self) -> set[str]:
        return set(self.world.running)

    def release(self, name: str) -> bool:
        return True

    def abandon(self) -> None:
        raise NotImplementedError

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        log: Path,
        stop_timeout: float = 0.0,
    ) -> Callable[[], None]:
        raise NotImplementedError

    def confine(self, name: str, process: Process, limits: Limits) -> None:
        pass

    def confine_build(self, name: str, process: Process, limits: BuildLimits) -> None:
        pass

    def end_builds(self, name: str) -> None:
        pass

    def log(self, name: str, file: Path) -> FakeLog:
        return FakeLog()

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        return []

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        raise NotImplementedError

    def shutdown(self) -> None:
        self.world.log.append("shutdown")
