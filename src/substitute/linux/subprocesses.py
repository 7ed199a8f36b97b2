"""Runs a program to its end, or starts a detached one: from argument lists, never a line for a shell.

`dialogue`, `one_offs`, the guardian and the demonstration start theirs themselves.

Every program gets a session and a process group of its own and no standard input: a Ctrl-C at the terminal
reaches the deployer alone, which then ends the whole group.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.polling import wait_while
from substitute.core.ports.commands import Finished
from substitute.io.files import read_regular
from substitute.io.lines import Lines
from substitute.io.signals import held_signals
from substitute.linux.probe_group import as_probe
from substitute.linux.processes import group_of, identify, is_alive, signal_group, signal_process
from substitute.linux.users import account, acting_as
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from substitute.core.model.programs import Process
    from substitute.linux.users import Account

_CHUNK = 65536
_LEFT = 1 << 20
"""Bytes that are still read after the program has ended; a pipe holds no more than that."""
_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL."""
_TICK = 0.01
_BLIND_TICK_MS = 50
"""How often a program's end is looked for where Python or the kernel has no pidfd."""
_GATE = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "sh")
"""Waits for a line on its standard input, then becomes the program. Where none comes, its deployer was killed."""


@dataclass(frozen=True)
class Captured:
    """What a short program wrote, and how it ended."""

    status: int
    """Exit status; negative: the signal that ended it."""
    out: str
    err: str
    timed_out: bool = False


class Shell:
    """Runs builds and hooks (see `core.ports.commands.Commands`)."""

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
        """Run to the end, standard output and error merged and given to `on_line` line by line.

        A carriage return ends a line too (progress bars). What the program leaves in the background is
        neither waited for nor ended. After `timeout` seconds, or when an exception comes through, the whole
        group gets SIGTERM, and SIGKILL 2 s later. Raises OSError where nothing can be started in `directory`, and
        ConfigError where `user` can't be become.
        """
        lines = Lines(on_line)
        argv, pipe = [*_GATE, *argv], subprocess.PIPE
        become = account(user)
        identity = as_probe(become) if probes else None
        with _running(
            argv,
            directory,
            environment,
            become,
            out=pipe,
            err=subprocess.STDOUT,
            stdin=pipe,
            identity=identity,
        ) as (program, process):
            assert program.stdin is not None  # noqa: S101  # both were asked for
            assert program.stdout is not None  # noqa: S101
            with program.stdout as output:
                if nice:
                    _be_less_urgent(process.pid, nice)
                on_start(process)
                with suppress(BrokenPipeError), program.stdin as gate:  # it may have been ended from outside
                    gate.write(b"\n")
                timed_out = not _pump(program, output, lines, timeout)
                if timed_out:
                    _end(process)
                    program.wait()
                _drain(output, lines)
                lines.close()
        return Finished(program.returncode, tuple(lines.tail), timed_out)

    def scripts(self, directory: Path, *, user: str | None = None) -> Mapping[str, bool]:
        """Regular files, and links to such."""
        with acting_as(account(user)), suppress(FileNotFoundError, NotADirectoryError):
            found = {file.name: file.stat().st_mode for file in directory.iterdir() if file.is_file()}
            return {name: bool(mode & 0o111) for name, mode in found.items()}
        return {}

    def text(self, file: Path, *, user: str | None = None) -> str | None:
        """Undecodable bytes are replaced; a FIFO or a device is an OSError, and not waited for."""
        with acting_as(account(user)), suppress(FileNotFoundError, NotADirectoryError):
            return read_regular(file).decode(errors="replace")
        return None

    def is_another(self, user: str | None) -> bool:
        """Compare user ids."""
        become = account(user)
        return bool(become and become.is_another)

    def end(self, process: Process) -> None:
        """End the group that `process` leads or led: SIGTERM, and SIGKILL 2 s later.

        Nothing happens where that group is gone, even if its number is in use again.
        """
        _end(process)

    def end_all(self, processes: Iterable[Process], *, timeout: float) -> bool:
        """Each by its identity; whoever is gone meanwhile is passed over."""
        family = left = set(processes)
        for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, _GRACE)):
            for process in left:
                with suppress(PermissionError):
                    signal_process(process, number)
            left = wait_while(lambda: set(filter(is_alive, family)), patience, _TICK)
            if not left:
                return number == signal.SIGKILL
        pids = ", ".join(str(process.pid) for process in left)
        raise RuntimeFailedError(f"What was left behind cannot be ended (pid {pids}).")


def capture(
    argv: Sequence[str],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
    given: str | None = None,
    become: Account | None = None,
    on_start: Callable[[Process], None] = lambda _: None,
) -> Captured:
    """Run a short program, as `become`, and return what it wrote; `given` is its standard input (default: none).

    `on_start` is called with the leader of its group.

    Undecodable bytes are replaced. After `timeout` seconds its group is ended and `timed_out` is true.
    Raises OSError where it cannot be started.
    """
    # Files in memory, not pipes: a daemon that the program leaves behind (ssh's master connection) may
    # hold them open for ever, and no output is too much.
    with _memory("out") as out, _memory("err") as err, _memory("in") as source:
        if given is not None:
            source.write(given.encode())
            source.seek(0)
        stdin = source if given is not None else subprocess.DEVNULL
        with _running(argv, directory, environment, become, out=out, err=err, stdin=stdin) as (
            program,
            process,
        ):
            on_start(process)
            ended = _wait(program, timeout)
            if not ended:
                _end(process)
                program.wait()
        return Captured(program.returncode, _content(out), _content(err), timed_out=not ended)


@contextmanager
def read_through(argv: Sequence[str], source: IO[bytes]) -> Iterator[IO[bytes]]:
    """What a program makes of all that is in the file `source`; it is ended where nobody reads on.

    Raises OSError where it cannot be started; from a block that has read all, also where it failed.
    """
    os.lseek(source.fileno(), 0, os.SEEK_SET)  # who has looked into it may have read ahead
    with (
        _memory("err") as err,
        _running(argv, None, None, None, out=subprocess.PIPE, err=err, stdin=source) as (program, process),
    ):
        assert program.stdout is not None  # noqa: S101  # it was asked for
        with program.stdout as output:
            yield output
            all_read = not output.read(1)
        if not all_read:
            _end(process)
        if program.wait() and all_read:
            raise OSError(_content(err).strip() or f"{argv[0]} ended with status {program.returncode}")


def spawn_detached(
    argv: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    log: Path,
    pass_fds: Sequence[int] = (),
) -> int:
    """Start a program that outlives this one, and return its pid.

    A session of its own, no standard input, no descriptor but `pass_fds`, a umask of 077; what it writes is appended
    to `log` (0600). Raises OSError where it cannot be started.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        program = subprocess.Popen(
            argv,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            pass_fds=pass_fds,
            umask=0o077,
        )
    finally:
        os.close(descriptor)
    # Nobody waits for it: without this Python would warn that it still runs.
    program.returncode = 0
    return program.pid


@contextmanager
def _running(
    argv: Sequence[str],
    directory: Path | None,
    environment: Mapping[str, str] | None,
    become: Account | None,
    *,
    out: int | IO[bytes],
    err: int | IO[bytes],
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    identity: Mapping[str, Any] | None = None,
) -> Iterator[tuple[subprocess.Popen[bytes], Process]]:
    """Start a program; whatever exception leaves the block, its group is ended first.

    It has the user and groups of `identity`, by default those of `become`.
    """
    if identity is None:
        identity = become.popen() if become else {}
    program: subprocess.Popen[bytes] | None = None
    process: Process | None = None
    if become:
        environment = {**become.environment, **(os.environ if environment is None else environment)}
    try:
        with held_signals():  # a handler that raises would lose the child just forked
            program = subprocess.Popen(
                argv,
                cwd=directory,
                env=environment,
                stdin=stdin,
                stdout=out,
                stderr=err,
                start_new_session=True,
                **identity,
            )
            process = identify(program.pid, zombie=True)
        assert process is not None  # noqa: S101  # a child that is not yet waited for has an entry
        yield program, process
    except BaseException:
        if program is not None:
            if process is not None:
                _end(process)
            program.wait()
            for stream in filter(None, (program.stdin, program.stdout)):
                stream.close()
        raise


def _be_less_urgent(pid: int, nice: int) -> None:
    """Lower the priority of a session that has just begun; the kernel derives that of its reads and writes from it.

    Where the kernel makes a group of each session (autogroup), only the group's own niceness counts outside of it.
    """
    value = min(19, os.getpriority(os.PRIO_PROCESS, 0) + nice)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, value)
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(value), encoding="ascii")


def _pump(program: subprocess.Popen[bytes], pipe: IO[bytes], lines: Lines, timeout: float | None) -> bool:
    """Read until the program itself ends, whoever else holds the pipe; False where the time ran out."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with _watch(program.pid) as (poller, tick):
        poller.register(pipe, select.POLLIN)
        while program.poll() is None:
            left = None if deadline is None else (deadline - time.monotonic()) * 1000
            if left is not None and left <= 0:
                return False
            waits = [wait for wait in (left, tick) if wait is not None]
            for descriptor, _ in poller.poll(min(waits) if waits else None):
                if descriptor == pipe.fileno():
                    data = os.read(descriptor, _CHUNK)
                    if data:
                        lines.feed(data)
                    else:
                        poller.unregister(pipe)
    return True


def _drain(pipe: IO[bytes], lines: Lines) -> None:
    # What the program wrote before it ended is in the pipe; what comes later from its background is not its.
    os.set_blocking(pipe.fileno(), False)
    left = _LEFT
    with suppress(BlockingIOError):
        while left > 0 and (data := os.read(pipe.fileno(), _CHUNK)):
            left -= len(data)
            lines.feed(data)


def _wait(program: subprocess.Popen[bytes], timeout: float | None) -> bool:
    if timeout is None:
        program.wait()
        return True
    deadline = time.monotonic() + timeout
    with _watch(program.pid) as (poller, tick):
        while program.poll() is None:
            left = (deadline - time.monotonic()) * 1000
            if left <= 0:
                return False
            poller.poll(left if tick is None else min(left, tick))
    return True


@contextmanager
def _watch(pid: int) -> Iterator[tuple[select.poll, int | None]]:
    """Give a poller that wakes when the child ends, and how long (ms) it may sleep in case it can't."""
    poller = select.poll()
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield poller, _BLIND_TICK_MS
        return
    try:
        poller.register(descriptor, select.POLLIN)
        yield poller, None
    finally:
        os.close(descriptor)


def _end(process: Process) -> None:
    try:
        with suppress(PermissionError):
            signal_group(process, signal.SIGTERM)
        _wait_gone(process)
    finally:  # also when a second Ctrl-C comes
        with suppress(PermissionError):
            signal_group(process, signal.SIGKILL)
    _wait_gone(process)


def _wait_gone(process: Process) -> None:
    wait_while(lambda: group_of(process), _GRACE, _TICK)


def _memory(name: str) -> IO[bytes]:
    return os.fdopen(os.memfd_create(name), "w+b")


def _content(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")
