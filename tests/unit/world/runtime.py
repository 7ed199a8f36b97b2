"""What keeps instances running in the model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from substitute.core.model.crons import SCHEDULER
from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.instances import WEB
from substitute.core.model.programs import Inspection, Limits, Process, Stopped
from substitute.core.model.slots import Endpoint, SlotName
from tests.unit.fakes.logs import FakeLog
from tests.unit.world.apps import GUEST, STOP_LIMIT
from tests.unit.world.instances import AGAIN, NOBODY, Instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import BuildLimits, Program
    from tests.unit.world.world import World


@dataclass
class ModelRuntime:
    """Starts what crashes again, and leaves orphans when it is killed itself."""

    world: World
    running: bool = False
    known: dict[str, Process] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)

    def start(self, program: Program) -> Process:
        name = program.name
        self.world.deed(f"start {name}", RuntimeFailedError(f"{name} cannot be started."))
        if self.running and self.world.with_process(self.known.get(name)):
            raise RuntimeFailedError(f"{name} runs already.")
        self.running = True
        self.wanted.add(name)
        if name == SCHEDULER:
            self.known[name] = self.world.new_process()
            self.world.schedulers.add(self.known[name])
            return self.known[name]
        told = program.environment
        app, slot = told["SUBSTITUTE_APP"], SlotName(told.get("SUBSTITUTE_SLOT", "a"))
        process_type = told.get("SUBSTITUTE_PROCESS", WEB)
        endpoint = Endpoint("127.0.0.1", int(told["PORT"])) if "PORT" in told else None
        if name != GUEST:
            self.world.rules.started(program, app, slot, process_type)
        place, command = program.directory, program.command
        like = Instance(
            *(name, app, slot, process_type, NOBODY, place, "", endpoint, command, 0.0),
            signal=program.stop_signal,
        )
        self.known[name] = self.world.birth(like)
        return self.known[name]

    def inspect(self, name: str) -> Inspection:
        self.world.look(name)
        if not self.running:
            return Inspection(None)
        if name == SCHEDULER:
            return Inspection(self.known.get(name), wanted=name in self.wanted)
        instance = self.world.with_process(self.known.get(name))
        return Inspection(instance.process if instance else None, "exit status 1", name in self.wanted)

    def stop(self, name: str, process: Process | None, *, timeout: float, signal: str = "SIGTERM") -> Stopped:
        began = self.world.clock.time
        instances = self._begin_to_stop(name, process, signal)
        self.world.deed(f"wait for {name} to end")
        killed = False
        for instance in instances:
            while instance in self.world.instances and self.world.clock.time < began + timeout:
                self.world.host.clock.sleep(0.1)
            if instance in self.world.instances:
                self.world.kill(instance)
                killed = True
        return Stopped(killed, self.world.clock.time - began)

    def terminate(self, name: str, process: Process | None, *, signal: str = "SIGTERM") -> None:
        self._begin_to_stop(name, process, signal)

    def _begin_to_stop(self, name: str, process: Process | None, signal: str) -> list[Instance]:
        self.world.deed(f"stop {name}", RuntimeFailedError(f"{name} cannot be ended."))
        ours = self.known.get(name) if self.running else None
        self.wanted.discard(name)
        if name == SCHEDULER:
            self.world.schedulers -= {ours, process}
            self.known.pop(name, None)
        running = [*self.world.instances, *self.world.foreign]
        found = [one for one in running if one.process in {ours, process}]
        for instance in found:
            instance.frozen = False
        with self.world.rules.changing():
            for instance in found:
                # What it keeps would get the one that it knows. But the caller can't know who keeps it.
                self.world.tell(instance, signal)
                if instance.process == ours:  # which kills it at its limit even if the deployer is no more
                    self.world.clock.after(STOP_LIMIT + 0.01, self._kill_late, instance)
        return found

    def _kill_late(self, instance: Instance) -> None:
        if self.running and self.known.get(instance.name) == instance.process:
            self.world.end(instance)

    def shutdown(self) -> None:
        self.world.deed("end the runtime", RuntimeFailedError("It cannot be ended."))
        for name, process in self.known.items():
            if self.world.with_process(process) or process in self.world.schedulers:
                self.world.wrong(f"the runtime was ended while it kept {name}")
        self.lose()

    def confine_build(self, name: str, process: Process, limits: BuildLimits) -> None:
        self.world.deed(f"confine the build of {name}", RuntimeFailedError("It cannot be confined."))
        if name in self.world.confined:
            self.world.wrong(f"a build of {name} began beside what another one had left")
        self.world.confined.add(name)

    def end_builds(self, name: str) -> None:
        self.world.look()
        self.world.confined.discard(name)

    def log(self, name: str, file: Path) -> FakeLog:
        return FakeLog()

    def freeze(self, name: str) -> None:
        self.world.deed(f"freeze {name}", RuntimeFailedError(f"{name} cannot be frozen."))
        with self.world.rules.changing():
            for instance in self._known(name):
                instance.frozen = True

    def thaw(self, name: str) -> None:
        if any(instance.frozen for instance in self._known(name)):
            self.world.deed(f"thaw {name}", RuntimeFailedError(f"{name} cannot be thawed."))
        for instance in self._known(name):
            instance.frozen = False

    def _known(self, name: str) -> list[Instance]:
        return [
            one for one in self.world.instances if one.name == name and one.process == self.known.get(name)
        ]

    def trace(self, name: str) -> Process | None:
        self.world.look(name)
        if name == SCHEDULER:
            return next(iter(self.world.schedulers), None)
        ours = (one.process for one in self.world.instances if one.name == name and not one.stranger)
        return next(ours, None)

    def kept(self) -> set[str]:
        return set(self.wanted)

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

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        return []

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        raise NotImplementedError

    # What happens to it.

    def lose(self) -> None:
        self.running = False
        self.known.clear()
        self.wanted.clear()

    def boot(self, kept: Iterable[Instance]) -> None:
        """Start what it kept before the machine was rebooted."""
        for instance in kept:
            self.running = True
            self.wanted.add(instance.name)
            self.known[instance.name] = self.world.birth(replace(instance, frozen=False))

    def keeps(self, instance: Instance) -> bool:
        """Whether it would start it again."""
        known = self.known.get(instance.name) == instance.process
        return self.running and known and instance.name in self.wanted

    def ended(self, instance: Instance) -> None:
        if self.keeps(instance):
            self.world.clock.after(AGAIN, self._start_again, instance)

    def _start_again(self, instance: Instance) -> None:
        name = instance.name
        if self.keeps(instance):
            self.known[name] = self.world.birth(instance)
