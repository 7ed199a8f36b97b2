"""A program that is talked with: lines to it, lines from it, until it ends or is ended."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections import deque
from contextlib import suppress
from signal import SIGKILL, SIGTERM
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK = 65536
_LONGEST = 1 << 22
"""Bytes of a line that are kept: no output can fill the memory."""
_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""
_LEFT = 1 << 22
"""Bytes that are still read after it has ended."""


class SilentError(Exception):
    """It said nothing for as long as was waited."""


class Dialogue:
    """It runs in a session of its own: a Ctrl-C at the terminal does not reach it.

    Raises OSError where it cannot be started. It may be used by one thread; `tell` by any.
    """

    def __init__(self, argv: Sequence[str], *, given: IO[bytes] | None = None) -> None:
        """With `given`, its standard input is that file, and it cannot be told anything."""
        self._err = os.fdopen(
            os.memfd_create("err"), "w+b"
        )  # no pipe: what it leaves behind may hold it open
        self._program = subprocess.Popen(
            argv,
            stdin=given or subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._err,
            start_new_session=True,
        )
        assert self._program.stdout is not None  # noqa: S101  # it was asked for
        self._out = self._program.stdout
        self._lines: deque[str] = deque()
        self._rest = b""
        self._poller = select.poll()
        self._poller.register(self._out, select.POLLIN)
        self._end = os.pidfd_open(self._program.pid)
        self._poller.register(self._end, select.POLLIN)
        self._has_ended = False
        self._closed: tuple[int, str] | None = None

    def tell(self, line: str) -> None:
        """Give it a line; nothing happens where it listens no more."""
        if self._program.stdin:
            with suppress(OSError, ValueError):
                os.write(self._program.stdin.fileno(), f"{line}\n".encode())

    def line(self, patience: float | None = None) -> str | None:
        """Its next line; None where it has ended and said all. Raises SilentError after `patience` seconds."""
        deadline = None if patience is None else time.monotonic() + patience
        while not self._lines and not self._has_ended:
            left = None if deadline is None else (deadline - time.monotonic()) * 1000
            if left is not None and left <= 0:
                raise SilentError
            for descriptor, _ in self._poller.poll(left):
                if descriptor == self._out.fileno():
                    self._take(os.read(descriptor, _CHUNK))
                else:
                    self._finish()
        return self._lines.popleft() if self._lines else None

    def close(self) -> tuple[int, str]:
        """End it if it still runs; its exit status (negative: a signal), and what it wrote on standard error."""
        if self._closed:
            return self._closed
        if self._program.poll() is None:
            self._signal(SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._program.wait(_GRACE)
            self._signal(SIGKILL)
            self._program.wait()
        os.close(self._end)
        self._out.close()
        if self._program.stdin:
            with suppress(OSError):
                self._program.stdin.close()
        with self._err:
            self._err.seek(0)
            said = self._err.read(_LEFT).decode(errors="replace")
        self._closed = self._program.returncode, said
        return self._closed

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._program.pid, number)  # a child that nobody has waited for keeps its number

    def _take(self, data: bytes) -> None:
        if not data:
            self._poller.unregister(self._out)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[:_LONGEST]
        self._lines += [line.decode(errors="replace").rstrip("\r") for line in lines]

    def _finish(self) -> None:
        """It has ended: take what is left in the pipe. What comes later is of those that it left behind."""
        self._program.wait()
        self._has_ended = True
        os.set_blocking(self._out.fileno(), False)
        left = _LEFT
        with suppress(BlockingIOError):
            while left > 0 and (data := os.read(self._out.fileno(), _CHUNK)):
                left -= len(data)
                self._take(data)
        if self._rest:
            self._take(b"\n")
