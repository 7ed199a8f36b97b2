"""Commands beside the instances: with the terminal or the pipes of this process, or into a log.

The program is forked and waits at a gate until it is noted. It is the user whom it runs as before anything of the slot
is looked at, and has its own process group.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import stat
import sys
import termios
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from substitute.core.polling import wait_while
from substitute.core.ports.commands import Finished
from substitute.core.ports.one_offs import Input
from substitute.io.signals import held_signals
from substitute.linux.processes import group_of, identify, signal_group, wait_for_end
from substitute.linux.terminal import Job, Relay
from substitute.linux.users import account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import Process
    from substitute.linux.users import Account

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_OF_A_TERMINAL = ("TERM", "COLORTERM")
"""What of this process's environment says how to write to its terminal."""
_GRACE, _TICK = 2.0, 0.01
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


class Programs:
    """Runs commands beside the instances of a slot (see `core.ports.one_offs.OneOffs`)."""

    def myself(self) -> Process:
        """Identify this process."""
        process = identify(os.getpid())
        assert process is not None  # noqa: S101  # who asks runs
        return process

    def is_at_terminal(self) -> bool:
        """Standard input, output or error is one."""
        return any(map(os.isatty, (0, 1, 2)))

    def input(self) -> Input:
        """By its kind; of a pipe or a socket by how much is in it, and whether it is at its end."""
        try:
            about = os.fstat(0)
            if stat.S_ISREG(about.st_mode):
                return Input.WAITS if about.st_size > os.lseek(0, 0, os.SEEK_CUR) else Input.NONE
            if stat.S_ISFIFO(about.st_mode) or stat.S_ISSOCK(about.st_mode):
                return _in_a_pipe()
        except OSError:  # it is closed
            return Input.NONE
        return Input.MAY_COME if os.isatty(0) else Input.NONE

    def attached(
        self,
        argv: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        on_start: Callable[[Process], None],
        user: str | None = None,
    ) -> Finished:
        """As the same user it inherits the terminal, as another one it gets a pseudo-terminal."""
        become = account(user)
        if self.is_at_terminal():
            terminal = {name: os.environ[name] for name in _OF_A_TERMINAL if name in os.environ}
            environment = {**terminal, **environment}
        relayed = become and become.is_another and self.is_at_terminal()
        screen = Relay(become.uid) if become and relayed else Job()
        with screen, held_signals():
            program = _Program(argv, directory, environment, become, screen.in_child)
            with _passed_on_to(program):
                program.begin(on_start)
                return Finished(screen.wait(program.process), ())

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
        """A session of its own: it goes on when the terminal of whoever started this process is closed."""
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

        def in_child() -> None:
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDONLY)
            for number, file in enumerate((nothing, descriptor, descriptor)):
                os.dup2(file, number)

        try:
            with held_signals():
                program = _Program(argv, directory, environment, account(user), in_child)
        finally:
            os.close(descriptor)
        try:
            program.begin(on_start)
            status = program.wait(timeout)
            if status is None:
                self.end(program.process, timeout=_GRACE)
            return Finished(program.wait(None) or 0, (), timed_out=status is None)
        except BaseException:
            self.end(program.process, timeout=_GRACE)
            program.wait(None)
            raise

    def end(self, process: Process, *, timeout: float) -> bool:
        """End its whole process group."""
        if not signal_group(process, signal.SIGTERM):
            return False
        signal_group(process, signal.SIGCONT)  # one that is stopped would not see it
        if not wait_while(lambda: group_of(process), timeout, _TICK):
            return False
        signal_group(process, signal.SIGKILL)
        wait_while(lambda: group_of(process), _GRACE, _TICK)
        return True


def _in_a_pipe() -> Input:
    count = fcntl.ioctl(0, termios.FIONREAD, bytes(4))
    if int.from_bytes(count, sys.byteorder):
        return Input.WAITS
    poll = select.poll()
    poll.register(0, select.POLLIN)
    return Input.NONE if poll.poll(0) else Input.MAY_COME


class _Program:
    """A program that was forked, and waits at its gate."""

    def __init__(
        self,
        argv: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        become: Account | None,
        in_child: Callable[[], None],
    ) -> None:
        """`in_child` gives it its session or its group, and its descriptors."""
        reading, self._gate = os.pipe()
        groups = become.groups if become and become.is_another else None
        if become:
            environment = {**become.environment, **environment}
        pid = os.fork()
        if pid == 0:
            try:
                os.close(self._gate)
                _forget_handlers()
                in_child()
                if not os.read(reading, 1):
                    os._exit(1)  # whoever started it was killed
                if become and groups is not None:
                    _turn_into(become, groups)
                _execute(argv, directory, environment)
            finally:
                os._exit(_NOT_EXECUTABLE)
        os.close(reading)
        self.status: int | None = None
        found = identify(pid, zombie=True)
        assert found is not None  # noqa: S101  # a child that is not yet waited for has an entry
        self.process = found

    def begin(self, on_start: Callable[[Process], None]) -> None:
        """Open the gate once `on_start` has returned; where it raises, the program never begins."""
        try:
            on_start(self.process)
            with suppress(BrokenPipeError):  # it may have been ended from outside
                os.write(self._gate, b"\n")
        except BaseException:
            os.kill(self.process.pid, signal.SIGKILL)  # our own child, not yet waited for
            self.wait(None)
            raise
        finally:
            os.close(self._gate)

    def wait(self, timeout: float | None) -> int | None:
        """Its status, negative for a signal; None where it still runs after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.status is None:
            left = 3600.0 if deadline is None else deadline - time.monotonic()
            pid, ended = os.waitpid(self.process.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(ended)
            elif left <= 0:
                return None
            else:
                wait_for_end(self.process, left)
        return self.status


def _forget_handlers() -> None:
    """Signals mean again what they meant to this process at first: after `nohup`, SIGHUP nothing."""
    for number in signal.valid_signals():
        ours = callable(signal.getsignal(number)) or number in {signal.SIGPIPE, signal.SIGXFSZ}
        if ours:
            signal.signal(number, signal.SIG_DFL)


def _turn_into(become: Account, groups: list[int]) -> None:
    os.setgroups(groups)
    os.setresgid(become.gid, become.gid, become.gid)
    os.setresuid(become.uid, become.uid, become.uid)


def _execute(argv: Sequence[str], directory: Path, environment: Mapping[str, str]) -> NoReturn:
    """Become the program, or say why not and end as a shell does."""
    os.umask(0o022)
    what = str(directory)
    try:
        os.chdir(directory)
        what = argv[0]
        os.execvpe(argv[0], list(argv), dict(environment))  # noqa: S606  # the command that was typed
    except OSError as error:
        missing = error.errno in {errno.ENOENT, errno.ENOTDIR} and what == argv[0]
        os.write(2, f"substitute: {what}: {error.strerror}\n".encode(errors="surrogateescape"))
        os._exit(_NOT_FOUND if missing else _NOT_EXECUTABLE)


@contextmanager
def _passed_on_to(program: _Program) -> Iterator[None]:
    """What this process is told goes on to the program's group, which decides what becomes of it."""

    def pass_on(number: int, _frame: object) -> None:
        with suppress(PermissionError):
            signal_group(program.process, number)

    heeded = [number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
    earlier = {number: signal.signal(number, pass_on) for number in heeded}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
