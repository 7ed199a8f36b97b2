"""Builds, releases and hooks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.programs import Process
from substitute.core.ports.commands import Finished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tests.unit.fakes.world import World


@dataclass
class FakeCommands:
    world: World

    def run(
        self,
        argv: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        on_start: Callable[[Process], None],
        timeout: float | None = None,
        user: str | None = None,
        nice: int = 0,
        probes: bool = False,
    ) -> Finished:
        what = argv[-1].rsplit("/", 1)[-1]
        self.world.log.append(f"run {what}")
        on_start(Process(1, 1, "boot"))
        on_line("output")
        if argv[0] != "/bin/sh":
            return Finished(0, ("last line",))
        late = timeout is not None and self.world.build_takes > timeout
        self.world.clock.sleep(min(self.world.build_takes, timeout) if timeout else self.world.build_takes)
        status = self.world.release_status if what == "migrate" else self.world.build_status
        return Finished(status, ("last line",), timed_out=late)

    def scripts(self, directory: Path, *, user: str | None = None) -> Mapping[str, bool]:
        return {file.name: True for file in directory.iterdir()} if directory.is_dir() else {}

    def text(self, file: Path, *, user: str | None = None) -> str | None:
        return file.read_text() if file.is_file() else None

    def is_another(self, user: str | None) -> bool:
        return False

    def end(self, process: Process) -> None:
        self.world.log.append("end leftover")

    def end_all(self, processes: Iterable[Process], *, timeout: float) -> bool:
        for directory, left in self.world.left.items():
            if left & set(processes):
                self.world.log.append(f"end what {Path(directory).name} left")
                left -= set(processes)
        return False
