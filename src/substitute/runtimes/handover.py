"""A root that goes from one runtime to another, with nothing stopped for it.

What the earlier one keeps goes on there until it is stopped in the course of things; what is started is the later
one's. So a root has changed with its next deployment.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import SIGTERM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import BuildLimits, Inspection, Limits, Process, Program, Stopped
    from substitute.core.ports.runtime import Log, Runtime


class RuntimeHandover:
    """See `core.ports.runtime.Runtime`."""

    def __init__(self, later: Runtime, earlier: Runtime) -> None:
        self._later = later
        self._earlier = earlier

    def start(self, program: Program) -> Process:
        """Asks the later one."""
        return self._later.start(program)

    def inspect(self, name: str) -> Inspection:
        """Asks the one that keeps it."""
        return self._keeper(name).inspect(name)

    def stop(self, name: str, process: Process | None, *, timeout: float, signal: str = SIGTERM) -> Stopped:
        """Asks the one that keeps it; with its last program the earlier one ends."""
        stopped = self._keeper(name).stop(name, process, timeout=timeout, signal=signal)
        with suppress(RuntimeFailedError):  # one that does not tell may keep anything
            if not self._earlier.kept():
                self._earlier.shutdown()
        return stopped

    def terminate(self, name: str, process: Process | None, *, signal: str = SIGTERM) -> None:
        """Asks the one that keeps it."""
        self._keeper(name).terminate(name, process, signal=signal)

    def freeze(self, name: str) -> None:
        """Asks the one that keeps it."""
        self._keeper(name).freeze(name)

    def thaw(self, name: str) -> None:
        """Asks the one that keeps it."""
        self._keeper(name).thaw(name)

    def trace(self, name: str) -> Process | None:
        """Asks the later one, then the earlier one."""
        return self._later.trace(name) or self._earlier.trace(name)

    def kept(self) -> set[str]:
        """What the later one keeps: the rest is on its way."""
        return self._later.kept()

    def release(self, name: str) -> bool:
        """Where `name` is the last that the earlier one keeps."""
        try:
            if self._earlier.kept() - {name}:
                return False
        except RuntimeFailedError:
            return False
        self._earlier.abandon()
        return True

    def abandon(self) -> None:
        """Abandons what both keep."""
        self._earlier.abandon()
        self._later.abandon()

    def log(self, name: str, file: Path) -> Log:
        """Of the later one, which starts programs."""
        return self._later.log(name, file)

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        """Asks the one that keeps it."""
        return self._keeper(name).last_lines(name, file, count)

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        """Both: a name may go from one to the other meanwhile. What was written before is asked of its keeper."""
        from queue import SimpleQueue  # noqa: PLC0415  # nothing else here needs these
        from threading import Thread  # noqa: PLC0415

        lines: SimpleQueue[tuple[str, str]] = SimpleQueue()
        keepers = {name: self._keeper(name) for name in logs}

        def follow(runtime: Runtime) -> None:
            wanted = {
                name: (file, count if keepers[name] is runtime else 0) for name, (file, count) in logs.items()
            }
            with suppress(OSError):  # the other one has a log to read
                runtime.follow(wanted, lambda name, line: lines.put((name, line)))

        for runtime in (self._later, self._earlier):
            Thread(target=follow, args=(runtime,), daemon=True).start()
        while True:
            on_line(*lines.get())

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
        """Asks the later one."""
        return self._later.spawn(
            name, argv, directory=directory, environment=environment, log=log, stop_timeout=stop_timeout
        )

    def confine(self, name: str, process: Process, limits: Limits) -> None:
        """Asks the later one."""
        self._later.confine(name, process, limits)

    def confine_build(self, name: str, process: Process, limits: BuildLimits) -> None:
        """Asks the later one."""
        self._later.confine_build(name, process, limits)

    def end_builds(self, name: str) -> None:
        """Asks both: a build may have outlived its deployer, and a change of the runtime."""
        self._later.end_builds(name)
        self._earlier.end_builds(name)

    def shutdown(self) -> None:
        """Shuts both down."""
        try:
            self._earlier.shutdown()
        finally:
            self._later.shutdown()

    def _keeper(self, name: str) -> Runtime:
        """The later one where both do: what the earlier one has left of a balancer ends by itself."""
        later = self._later.kept()
        try:
            return self._earlier if name in self._earlier.kept() - later else self._later
        except RuntimeFailedError:  # it does not tell: what the later one does not keep may be its own
            return self._later if name in later else self._earlier
