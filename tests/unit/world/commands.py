"""Builds, releases and hooks in the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.model.health import Health
from substitute.core.model.slots import Endpoint
from substitute.core.ports.commands import Finished
from tests.unit.world.apps import HEALTHY
from tests.unit.world.mishaps import Killed
from tests.unit.world.versions import Files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import Process
    from tests.unit.world.world import World


@dataclass
class ModelCommands:
    """A build goes on when its deployer is killed."""

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
        if argv[-1].startswith(HEALTHY):
            endpoint = Endpoint("127.0.0.1", int(environment["PORT"]))
            asked = Health("http", argv[-1].removeprefix(HEALTHY), None, 1.0, 1.0, 1)
            return Finished(0 if self.world.host.prober.probe(endpoint, asked).good else 1, ())
        what, is_build = argv[-1].rsplit("/", 1)[-1], argv[0] == "/bin/sh"
        is_release = what == "migrate"
        self.world.deed(f"run {what} in {directory.name}", PermissionError(13, "Permission denied"))
        process = self.world.new_process()
        try:
            on_start(process)
            if is_release:
                self.world.rules.release_begun(directory.name.rsplit("_", 1)[0], directory)
                self.world.builds[process] = directory
            elif is_build:
                self.world.rules.touched(directory)
                self.world.builds[process] = directory
                self.world.files[directory] = Files(self.world.files[directory].version)
            self.world.deed(f"wait for {what}")
        except Killed:
            raise
        except BaseException:
            self.world.builds.pop(process, None)
            raise
        keeper = self.world.strangers.keeper
        if keeper and tuple(argv) in {keeper.start, keeper.stop}:
            self.world.strangers.ask_keeper(argv[1])
        if not is_build:
            return Finished(0, ())
        del self.world.builds[process]
        version = self.world.files[directory].version
        if is_release:
            return Finished(int(version == "unreleasable"), ("error",))
        if version == "unbuildable":
            return Finished(1, ("error",))
        self.world.files[directory] = Files(version, built=version)
        return Finished(0, ())

    def scripts(self, directory: Path, *, user: str | None = None) -> Mapping[str, bool]:
        return {file.name: True for file in directory.iterdir()} if directory.is_dir() else {}

    def text(self, file: Path, *, user: str | None = None) -> str | None:
        self.world.look()
        return file.read_text() if file.is_file() else None

    def is_another(self, user: str | None) -> bool:
        return False

    def end(self, process: Process) -> None:
        self.world.deed(f"end the build {process.pid}")
        if process in self.world.foreign_builds:
            self.world.wrong("a build of another root was ended")
        self.world.builds.pop(process, None)

    def end_all(self, processes: Iterable[Process], *, timeout: float) -> bool:
        for process in processes:
            self.world.end_run(process)
        return False
