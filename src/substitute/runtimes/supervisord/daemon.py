"""supervisord as something that runs: found, started, asked, and ended; never two of a root."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.polling import wait_while
from substitute.core.state.lock import own_lock
from substitute.io.files import private_directory, write_atomically
from substitute.linux.init_system import enclosing_service
from substitute.linux.processes import (
    command_line,
    identify,
    is_alive,
    signal_process,
    users,
    works_in_removed,
)
from substitute.runtimes.supervisord.refusals import PATIENCE, Absent, Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from substitute.core.model.programs import Process

_TICK = 0.005
_START_PATIENCE = 15.0
_KILL_PATIENCE = 5.0
_IMPATIENCE = 0.2
"""Seconds for an answer of one that has not answered the call before."""

# `/proc/self/cwd` keeps the socket's path within the kernel's 108 bytes, however long the root's is.
_CONFIGURATION = """\
[supervisord]
nodaemon = true
logfile = supervisord.log
logfile_maxbytes = 1MB
logfile_backups = 1
pidfile = supervisord.pid
identifier = substitute
{user}
[unix_http_server]
file = /proc/self/cwd/supervisord.sock
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[rpcinterface:substitute]
supervisor.rpcinterface_factory = substitute.runtimes.supervisord.plugin:make

[include]
files = programs/*.conf
"""


class Daemon:
    """The supervisord of one root. `warn` takes what users should read."""

    def __init__(self, run_directory: Path, warn: Callable[[str], None]) -> None:
        self._run = run_directory
        self._warn = warn
        self._patience = PATIENCE
        self._socket = run_directory / "supervisord.sock"
        self._pid_file = run_directory / "supervisord.pid"
        self._output = run_directory / "supervisord.out"
        self.log = run_directory / "supervisord.log"
        """What it says of its programs, and of itself."""
        self.programs = run_directory / "programs"
        """A file of configuration for each program."""

    def call(self, method: str, *arguments: str | bool) -> Any:
        """What it answers. Raises `Fault`, `Absent` and `Silent`.

        One that does not answer is warned of once, and is not waited for as long until it does.
        """
        with suppress(PermissionError):
            if not self._socket.exists():
                raise Absent("it has no socket")
        from substitute.runtimes.supervisord.rpc import call  # noqa: PLC0415  slow to import

        try:
            answer = call(self._run, f"supervisor.{method}", *arguments, patience=self._patience)
        except Silent as silent:
            if self._patience != _IMPATIENCE:
                self._patience = _IMPATIENCE
                self._warn(f"{silent.reason} {silent.cure}")
            raise
        self._patience = PATIENCE
        return answer

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One command at a time starts it, ends it, or has it read its configuration again."""
        descriptor = os.open(
            self._run / own_lock("supervisord"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def ensure_running(self) -> None:
        """Start it, unless it answers; one that is silent is ended first. Raises RuntimeFailedError."""
        with suppress(Absent, Silent):
            self.call("getPID")
            return
        with self.locked():
            with suppress(Absent, Silent):
                self.call("getPID")
                return
            self._end_all()
            with suppress(Absent):
                self.call("getPID")
            if unit := enclosing_service():
                self._warn(
                    f"supervisord is started inside {unit}: systemd ends it, and all instances, with that unit. "
                    "Run `substitute up` at boot from a unit or cron of its own (docs/operations.md)."
                )
            self._await_answer(self._start())

    def _start(self) -> Process | None:
        # Beside a stale socket supervisord hesitates for half a second.
        self._socket.unlink(missing_ok=True)
        self._pid_file.unlink(missing_ok=True)
        private_directory(self.programs)
        user = "user = root\n" if os.geteuid() == 0 else ""
        write_atomically(self._run / "supervisord.conf", _CONFIGURATION.format(user=user))
        from substitute.linux.subprocesses import spawn_detached  # noqa: PLC0415

        return identify(
            spawn_detached(
                [
                    *(sys.executable, "-P", "-m", "supervisor.supervisord"),
                    *("-c", "/proc/self/cwd/supervisord.conf"),
                ],
                directory=self._run,
                environment={"PATH": os.environ.get("PATH", os.defpath)},
                log=self._output,
            )
        )

    def _await_answer(self, process: Process | None) -> None:
        deadline = time.monotonic() + _START_PATIENCE
        while time.monotonic() < deadline and process and is_alive(process):
            with suppress(Absent, Silent):
                self.call("getPID")
                return
            time.sleep(_TICK)
        said = self._output.read_text(errors="replace")[-2000:].strip()
        raise RuntimeFailedError("supervisord did not start.", fact=said)

    def end_silent(self) -> None:
        """Where it does not answer, end it: it might go on at any moment, with what it was told before.

        What it runs goes on, and is ended by its identity.
        """
        try:
            self.call("getPID")
        except Absent:
            return
        except Silent:
            with self.locked():
                try:
                    self.call("getPID")
                except Absent:
                    return
                except Silent:
                    self._end_all()

    def shutdown(self) -> None:
        """End it, and wait until it is gone."""
        with self.locked():
            try:
                process = identify(self.call("getPID"))
                self.call("shutdown")
            except Absent:
                return
            except Silent:
                self._end_all()
                return
            wait_while(lambda: process and is_alive(process), _KILL_PATIENCE, _TICK)

    def kill(self) -> None:
        """SIGKILL: what it runs writes to files, and lives on."""
        with self.locked():
            for process in self._all():
                _kill(process)
            self._socket.unlink(missing_ok=True)

    def lost(self) -> list[int]:
        """The pids of those whose directory was removed: nobody can ask them any more."""
        return [pid for pid in works_in_removed(self._run) if self._is_one(pid)]

    def _end_all(self) -> None:
        """End every supervisord of this root, which nobody can reach; there are never two."""
        for process in self._all():
            _kill(process)
            self._warn(
                f"supervisord (pid {process.pid}) did not answer and was ended. What it kept running goes on, and is "
                "not started again if it ends, until the next deployment of each app has replaced it."
            )

    def _all(self) -> list[Process]:
        """Those of this root: who listens on its socket, and whom its file of the pid names."""
        pids = set()
        with suppress(OSError, ValueError):
            pids.add(int(self._pid_file.read_text()))
        pids |= set(works_in_removed(self._run))
        try:
            pids.add(self.call("getPID"))
        except Silent as silent:
            pids |= {silent.process.pid} if silent.process else set()
        except Absent:
            pass
        known = [process for pid in pids if (process := identify(pid))]
        return [process for process in known if self._is_one(process.pid)]

    def _is_one(self, pid: int) -> bool:
        """Whether it is a supervisord, and works here: a number in a file says nothing."""
        with suppress(OSError):
            here = pid in works_in_removed(self._run) or Path(f"/proc/{pid}/cwd").samefile(self._run)
            return here and users(pid) == {os.geteuid()} and "supervisor.supervisord" in command_line(pid)
        return False


def _kill(process: Process) -> None:
    """SIGKILL a supervisord, and wait until it is gone. Raises RuntimeFailedError where it stays."""
    with suppress(PermissionError):
        signal_process(process, SIGKILL)
    if wait_while(lambda: is_alive(process), _KILL_PATIENCE, _TICK):
        raise RuntimeFailedError(f"supervisord (pid {process.pid}) cannot be killed.")
