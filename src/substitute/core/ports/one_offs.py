"""Runs commands beside the instances of a slot."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import Process
    from substitute.core.ports.commands import Finished


class Input(Enum):
    """What there is in standard input."""

    NONE = auto()
    """Nothing, and nothing comes: it is closed, empty, or /dev/null."""
    MAY_COME = auto()
    """Nothing yet: a terminal, or a pipe that somebody may write into."""
    WAITS = auto()
    """A file that has not been read to its end, or a pipe with something in it."""


class OneOffs(Protocol):
    """Runs commands beside the instances of a slot, each to its end and in a process group of its own.

    `on_start` is called with the leader of the group, and the program begins when that has returned: whoever kills
    this process finds it noted, or nothing. Where that raises, the program never begins. One that cannot be executed
    ends with status 126 or 127, as in a shell, and says why.
    """

    def myself(self) -> Process:
        """This process: noted for a command until that has one of its own."""

    def is_at_terminal(self) -> bool:
        """Whether a command that is `attached` would be at a terminal."""

    def input(self) -> Input:
        """What a command that is `attached` would find in its standard input. None of it is read."""

    def attached(
        self,
        argv: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        on_start: Callable[[Process], None],
        user: str | None = None,
    ) -> Finished:
        """Run with the standard input, output and error of this process, and at its terminal where there is one.

        Ctrl-C, Ctrl-Z and the size of the terminal are the program's. Another `user` gets a terminal of his own, whose
        input and output are passed on: whoever holds a terminal can type into it. A signal that this process gets goes
        on to the group.
        """

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
        """Run without standard input; the program itself appends what it writes to `log` (0600).

        When `timeout` seconds pass or an exception comes through, the whole group is ended first.
        """

    def end(self, process: Process, *, timeout: float) -> bool:
        """SIGTERM to the group that `process` leads or led, after `timeout` seconds SIGKILL; True if that was needed.

        Nothing happens where that group is gone. Raises PermissionError where it is another user's.
        """
