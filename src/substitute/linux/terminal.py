"""The terminal of a command that somebody waits for: lent to it as a job of a shell's, or relayed to one of its own."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import termios
import tty
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from substitute.linux.processes import signal_group

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from substitute.core.model.programs import Process

_CHUNK = 1 << 14
_SIZE = 8
"""Bytes of a `struct winsize`."""


class _Awake:
    """Between entering and leaving, whoever waits is woken by each signal, one that has just come too."""

    def __enter__(self) -> Self:
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._earlier_wake = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._earlier = {
            number: signal.signal(number, lambda *_: None) for number in (signal.SIGCHLD, signal.SIGWINCH)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._earlier_wake)
        os.close(self._woken)
        os.close(self._wake)

    def _be_awake(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._woken, _CHUNK)


class Job(_Awake):
    """The program has the terminal that this process has, in a process group of its own, as a job of a shell has it.

    In the foreground where this process is; then Ctrl-C and Ctrl-Z go to it alone. Where it stops, so does the group
    of this process, and the shell which that was typed in has the terminal again.
    """

    def __init__(self) -> None:
        self._at_terminal = os.isatty(0)
        self._lent = False
        self._modes: list[Any] = []

    def __enter__(self) -> Self:
        super().__enter__()
        if self._at_terminal:
            self._modes = termios.tcgetattr(0)
            self._lent = self._is_in_front()
        return self

    def __exit__(self, *_: object) -> None:
        self._take_back()
        super().__exit__()

    def in_child(self) -> None:
        """Make it a process group of its own, and give it the terminal."""
        os.setpgid(0, 0)
        if self._lent:
            with _undisturbed():
                os.tcsetpgrp(0, os.getpid())

    def wait(self, process: Process) -> int:
        """Its status; negative for a signal."""
        poller = select.poll()
        poller.register(self._woken, select.POLLIN)
        while True:
            pid, status = os.waitpid(process.pid, os.WNOHANG | (os.WUNTRACED if self._at_terminal else 0))
            if pid and os.WIFSTOPPED(status):
                self._stop_with(process)
            elif pid:
                return os.waitstatus_to_exitcode(status)
            else:
                poller.poll()
                self._be_awake()

    def _is_in_front(self) -> bool:
        with suppress(OSError):
            return os.tcgetpgrp(0) == os.getpgrp()
        return False

    def _take_back(self) -> None:
        if self._lent:
            self._lent = False
            with _undisturbed(), suppress(OSError, termios.error):  # the terminal may be gone
                os.tcsetpgrp(0, os.getpgrp())
                termios.tcsetattr(0, termios.TCSADRAIN, self._modes)

    def _stop_with(self, process: Process) -> None:
        """Stop until this process is told to go on, and let the program go on then."""
        modes = termios.tcgetattr(0) if self._lent else None
        self._take_back()
        os.kill(0, signal.SIGTSTP)
        if self._is_in_front():
            self._lent = True
            with _undisturbed(), suppress(OSError, termios.error):
                if modes:
                    termios.tcsetattr(0, termios.TCSADRAIN, modes)
                os.tcsetpgrp(0, process.pid)
        signal_group(process, signal.SIGCONT)


class Relay(_Awake):
    """The program has a terminal of its own; what is typed at that of this process, and what it writes, is passed on.

    So a program of another user's has nothing in its hands that it could type into this user's shell with (TIOCSTI).
    """

    def __init__(self, user: int) -> None:
        """`user` is the number of whose the program's terminal is to be."""
        self._user = user
        self._modes: list[Any] = []
        self._typed = b""
        """What is not yet passed on."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._outer = next(number for number in (1, 2, 0) if os.isatty(number))
        self._master, self._inner = os.openpty()
        os.fchown(self._inner, self._user, -1)
        modes = termios.tcgetattr(self._outer)
        termios.tcsetattr(self._inner, termios.TCSANOW, modes)
        self._resize()
        if os.isatty(0):
            self._modes = modes
            tty.setraw(0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._modes:
            with suppress(OSError, termios.error):  # the terminal may be gone
                termios.tcsetattr(0, termios.TCSADRAIN, self._modes)
        for descriptor in (self._inner, self._master):
            with suppress(OSError):
                os.close(descriptor)
        super().__exit__()

    def in_child(self) -> None:
        """A session with that terminal, in the place of each descriptor that is one."""
        os.setsid()
        fcntl.ioctl(self._inner, termios.TIOCSCTTY, 0)
        for number in [number for number in (0, 1, 2) if os.isatty(number)]:
            os.dup2(self._inner, number)

    def wait(self, process: Process) -> int:
        """Its status; negative for a signal. All that it wrote is shown then."""
        os.close(self._inner)
        os.set_blocking(self._master, False)
        sources = {self._woken, self._master, *((0,) if os.isatty(0) else ())}
        while True:
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid:
                while self._master in _ready({self._master}) and self._show():
                    pass
                return os.waitstatus_to_exitcode(status)
            wanted = sources - ({0} if self._typed else set())
            ready = _ready(wanted, {self._master} if self._typed else set(), patience=None)
            if self._woken in ready:
                self._be_awake()
                self._resize()
            if 0 in ready and not self._read_typed():
                sources.discard(0)  # it is closed: SIGHUP comes, and is passed on
            if self._master in ready & sources and not self._show():
                sources.discard(self._master)
            self._pass_on()

    def _resize(self) -> None:
        with suppress(OSError):
            size = fcntl.ioctl(self._outer, termios.TIOCGWINSZ, bytes(_SIZE))
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def _read_typed(self) -> bool:
        with suppress(OSError):
            self._typed = os.read(0, _CHUNK)
        return bool(self._typed)

    def _pass_on(self) -> None:
        """Pass on what was typed, as fast as the program takes it."""
        if self._typed:
            try:
                self._typed = self._typed[os.write(self._master, self._typed) :]
            except BlockingIOError:
                return
            except OSError:  # nobody has the other end any more
                self._typed = b""

    def _show(self) -> bool:
        """Show what the program has written by now; False where nobody has the other end any more."""
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        while data:
            data = data[os.write(self._outer, data) :]
        return True


def _ready(reading: set[int], writing: Iterable[int] = (), *, patience: float | None = 0) -> set[int]:
    """Those that can be read, or written, by now; with a `patience` of None as soon as one can."""
    return set().union(*select.select(reading, writing, (), patience))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A group in the background may change the terminal in here."""
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)
