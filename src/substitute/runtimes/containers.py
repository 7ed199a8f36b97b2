"""What the runtimes of containers have in common: each runs beside the runtime that keeps all else of a root."""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.core.model.programs import SIGTERM
from substitute.runtimes.command_line import begins_with_assignment, is_simple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import BuildLimits, Inspection, Limits, Process, Program, Stopped
    from substitute.core.ports.runtime import Log, Runtime


_FOLLOW = 0.1
"""Seconds between two looks at what containers write."""
_BY_THE_SHELL = frozenset("$`*?[]{}~<>#!")
"""Where one of these is in a command, it may mean something to the shell."""


def arguments(command: str) -> list[str]:
    """What the image's entrypoint is given for `Program.command`; nothing where the image says it itself.

    An image need not have a shell, so there is one only where the line takes it; it gives way to a simple command.
    """
    command = command.strip()
    if not command:
        return []
    if not is_simple(command):
        return ["/bin/sh", "-c", command]
    if begins_with_assignment(command):
        return ["/bin/sh", "-c", f"exec env {command}"]
    if _BY_THE_SHELL & set(command):
        return ["/bin/sh", "-c", f"exec {command}"]
    return shlex.split(command)


def follow_both(
    base: Runtime,
    logs: Mapping[str, tuple[Path, int]],
    on_line: Callable[[str, str], None],
    *,
    inside: Collection[str],
    last: Callable[[str], list[str]],
    written: Mapping[str, Log],
) -> None:
    """What `base` and containers write under the names of `logs`: a name may go from one to the other meanwhile.

    Those `inside` are in containers now, and `last` gives what they wrote before; `written` is what comes by each name.
    Returns never: Ctrl-C comes through.
    """
    from queue import Empty, SimpleQueue  # noqa: PLC0415  # nothing else here needs these
    from threading import Thread  # noqa: PLC0415

    others = SimpleQueue[tuple[str, str]]()
    plain = {name: (file, 0 if name in inside else count) for name, (file, count) in logs.items()}

    def follow_others() -> None:
        with suppress(OSError):  # there may be no log to read
            base.follow(plain, lambda name, line: others.put((name, line)))

    Thread(target=follow_others, daemon=True).start()
    for name in inside:
        for line in last(name):
            on_line(name, line)
    while True:
        for name, log in written.items():
            for line in log.lines():
                on_line(name, line)
        with suppress(Empty):
            on_line(*others.get(timeout=_FOLLOW))
            while True:
                on_line(*others.get_nowait())


class BesideBase:
    """A runtime that leaves everything to another one: what is different for containers is said by who inherits.

    See `core.ports.runtime.Runtime`.
    """

    def __init__(self, base: Runtime) -> None:
        self._base = base

    def start(self, program: Program) -> Process:
        return self._base.start(program)

    def inspect(self, name: str) -> Inspection:
        return self._base.inspect(name)

    def stop(self, name: str, process: Process | None, *, timeout: float, signal: str = SIGTERM) -> Stopped:
        return self._base.stop(name, process, timeout=timeout, signal=signal)

    def terminate(self, name: str, process: Process | None, *, signal: str = SIGTERM) -> None:
        self._base.terminate(name, process, signal=signal)

    def freeze(self, name: str) -> None:
        self._base.freeze(name)

    def thaw(self, name: str) -> None:
        self._base.thaw(name)

    def trace(self, name: str) -> Process | None:
        return self._base.trace(name)

    def kept(self) -> set[str]:
        return self._base.kept()

    def release(self, name: str) -> bool:
        return self._base.release(name)

    def abandon(self) -> None:
        self._base.abandon()

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
        return self._base.spawn(
            name, argv, directory=directory, environment=environment, log=log, stop_timeout=stop_timeout
        )

    def confine(self, name: str, process: Process, limits: Limits) -> None:
        self._base.confine(name, process, limits)

    def confine_build(self, name: str, process: Process, limits: BuildLimits) -> None:
        self._base.confine_build(name, process, limits)

    def end_builds(self, name: str) -> None:
        self._base.end_builds(name)

    def log(self, name: str, file: Path) -> Log:
        return self._base.log(name, file)

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        return self._base.last_lines(name, file, count)

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        self._base.follow(logs, on_line)

    def shutdown(self) -> None:
        self._base.shutdown()
