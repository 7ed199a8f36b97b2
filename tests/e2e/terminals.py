"""A terminal that somebody sits at."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE = 60.0


class Terminal:
    """A program in a session of its own, whose terminal this is the other end of."""

    def __init__(self, argv: Sequence[str], *, size: tuple[int, int] = (24, 80)) -> None:
        self.shown = ""
        self._status: int | None = None
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.execvp(argv[0], list(argv))  # noqa: S606
        self.resize(*size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self.wait()

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Type it, and read what is shown meanwhile."""
        left = text.encode()
        while left:
            _, free, _ = select.select([], [self._descriptor], [], 0.01)
            left = left[os.write(self._descriptor, left[:1000]) :] if free else left
            self._read(time.monotonic())

    def expect(self, text: str) -> None:
        """Return when `text` has been shown; what was shown up to it is not looked at again."""
        deadline = time.monotonic() + _PATIENCE
        while text not in self.shown:
            assert self._read(deadline), f"{text!r} is not shown: {self.shown!r}"
        self.shown = self.shown.split(text, 1)[1]

    def wait(self) -> int:
        """The exit status of the program; what it shows meanwhile is read."""
        deadline = time.monotonic() + _PATIENCE
        while self._status is None:
            pid, ended = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(ended)
            else:
                assert time.monotonic() < deadline, self.shown
                self._read(time.monotonic() + 0.02)
        return self._status

    @property
    def in_front(self) -> int:
        """The process group that has the terminal."""
        return os.tcgetpgrp(self._descriptor)

    @property
    def modes(self) -> list[object]:
        return termios.tcgetattr(self._descriptor)

    def hang_up(self) -> None:
        """Somebody closes the window."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self, deadline: float) -> bool:
        if (
            self._descriptor < 0
            or not select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]
        ):
            return False
        try:
            data = os.read(self._descriptor, 1 << 16)
        except OSError:  # nobody has the other end any more
            time.sleep(0.01)
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)
