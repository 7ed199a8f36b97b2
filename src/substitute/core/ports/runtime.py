"""Keeps the instances running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from substitute.core.model.programs import SIGTERM

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import BuildLimits, Inspection, Limits, Process, Program, Stopped


class Log(Protocol):
    """What a program writes from now on."""

    def lines(self, *, ended: bool = False) -> list[str]:
        """The whole lines since the previous call. Never raises.

        With `ended` the program runs no more, and what it wrote at last may be waited for, briefly.
        """


class Runtime(Protocol):
    """Keeps instances running.

    Instances outlive the deployer and its terminal, and are started again when they crash.
    """

    def start(self, program: Program) -> Process:
        """Start `program` under its name and return as soon as it has a process (not: is ready).

        What ran under that name before must be stopped. Raises RuntimeFailedError with the reason when
        it cannot be started, what it wrote at last among it. No other user can read its log.
        """

    def inspect(self, name: str) -> Inspection:
        """Observe `name`. An unknown name, or a runtime that does not run, has no process.

        Raises RuntimeFailedError where it runs and does not tell: then the journal and the kernel are asked.
        """

    def stop(self, name: str, process: Process | None, *, timeout: float, signal: str = SIGTERM) -> Stopped:
        """The stop signal to the main process alone; after `timeout` seconds SIGKILL to its whole group.

        What is left of the group once the main process is gone ends then, and is not waited for until the limit.
        Returns when the process and its group are gone. It is not started again. `process` is what the
        journal remembers: one that the runtime lost (it died and left an orphan) gets
        `signal` directly; what it keeps gets the one that it was started with.
        Stopping what does not run is no error. Raises RuntimeFailedError if it cannot be ended.
        """

    def terminate(self, name: str, process: Process | None, *, signal: str = SIGTERM) -> None:
        """Begin what `stop` does and return at once: the main process is told, and is not started again.

        What then becomes of it can be watched; `stop` completes it. Raises as `stop` does.
        """

    def freeze(self, name: str) -> None:
        """Give it no processor time until `thaw`, where the runtime can do that. It keeps its memory and its sockets.

        One that is stopped is thawed before. Raises RuntimeFailedError where it can't be done now.
        """

    def thaw(self, name: str) -> None:
        """Have it run on. What is not frozen goes on as it does."""

    def trace(self, name: str) -> Process | None:
        """The running main process of `name`, by what its start left behind, even if nothing keeps it any more.

        Nobody but the runtime and the owner of the root's state can leave that: a process that only looks like an
        instance, by its user, directory, environment and port, is none.
        """

    def kept(self) -> set[str]:
        """The names of all that it keeps running, or is about to start again. Empty where it does not run.

        Raises RuntimeFailedError where it runs and does not tell: it may keep anything, so nothing is ended for that.
        """

    def release(self, name: str) -> bool:
        """Have no other runtime of the root keep `name`, which then goes on, and is not started again when it ends.

        False where that can't be done yet. The caller starts another one beside it, and ends it.
        """

    def abandon(self) -> None:
        """Keep nothing any more: what runs goes on, and is not started again when it ends."""

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
        """Run a program once, past this command and what this command runs in. What is returned ends it at once.

        When the machine goes down, it has `stop_timeout` seconds from SIGTERM on, where the runtime is told of that.
        """

    def confine(self, name: str, process: Process, limits: Limits) -> None:
        """Hold a process that was not started here, and what it starts, to `limits`, as far as the runtime can.

        Raises RuntimeFailedError where it can't do now what it can do at other times.
        """

    def confine_build(self, name: str, process: Process, limits: BuildLimits) -> None:
        """Keep `process`, a build of the app `name`, and all that it starts, within `limits`. It has not begun yet.

        Raises RuntimeFailedError where a limit of memory or processors cannot be kept; weights are kept where they can.
        """

    def end_builds(self, name: str) -> None:
        """End what is left of the build of the app `name`. Raises RuntimeFailedError where that can't be."""

    def log(self, name: str, file: Path) -> Log:
        """What `name` writes from now on. `file` is its `Program.log`, for a runtime that has no log of its own."""

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        """The last lines that `name` wrote, across its restarts."""

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        """Give `on_line` the last lines of each name, as many as `logs` says, then whatever is written.

        Returns never: Ctrl-C comes through.
        """

    def shutdown(self) -> None:
        """End the runtime itself, where it is a process of ours and nothing runs in it any more.

        Raises RemainsError where that is done, and something of it elsewhere could not be removed.
        """
