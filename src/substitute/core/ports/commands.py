"""Runs builds and hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import Process


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    status: int
    """Exit status; negative: the signal that ended it."""
    tail: tuple[str, ...]
    """The last lines of its output."""
    timed_out: bool = False


class Commands(Protocol):
    """Runs builds and hooks, each in a process group of its own and without standard input."""

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
        """Run to the end, as `user`, output merged and given to `on_line` line by line.

        It is by `nice` less urgent than who runs this. If it `probes`, it reaches an instance that gets no traffic yet,
        as a probe of `Prober` does.

        `on_start` is called with the leader of the group, and the program begins when that has returned: whoever
        kills this process finds it noted, or nothing. When `timeout` passes or an exception (Ctrl-C) comes through,
        the whole group is ended first. A program that cannot be executed ends with status 126 or 127, as in a shell.
        Raises OSError where nothing can be started in `directory`.
        """

    def scripts(self, directory: Path, *, user: str | None = None) -> Mapping[str, bool]:
        """The files of `directory` that `user` finds there, and whether they may be executed; none where it is missing.

        Raises OSError where nobody may look.
        """

    def text(self, file: Path, *, user: str | None = None) -> str | None:
        """What is in a regular file, as far as `user` may read it; None where there is none. Raises OSError."""

    def is_another(self, user: str | None) -> bool:
        """Whether `user` is somebody else than who runs this."""

    def end(self, process: Process) -> None:
        """End the group that `process` leads, if it is still that one: a build that outlived its deployer."""

    def end_all(self, processes: Iterable[Process], *, timeout: float) -> bool:
        """SIGTERM to each, and after `timeout` seconds SIGKILL. True if that was needed.

        Raises RuntimeFailedError where one can't be ended.
        """
