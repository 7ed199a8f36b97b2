"""supervisord, one for a root, started on demand: it starts instances, and starts them again when they crash."""

from __future__ import annotations

import fcntl
import math
import os
import re
import signal
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from substitute.core.model.environment import IN_A_HOOK
from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Inspection, Process, Stopped
from substitute.core.polling import wait_until, wait_while
from substitute.core.state.lock import own_lock
from substitute.io.files import private_directory, write_atomically
from substitute.io.rotation import read_tail, rotate_where_large
from substitute.io.tail import Appended, follow
from substitute.linux.processes import (
    children,
    command_line,
    enclosing_service,
    identify,
    is_alive,
    signal_process,
    started_with,
    users,
    works_in_removed,
)
from substitute.linux.subprocesses import spawn_detached
from substitute.linux.users import account
from substitute.runtimes.orphans import wait_or_kill
from substitute.runtimes.supervisord import launcher
from substitute.runtimes.supervisord.refusals import PATIENCE, Absent, Fault, Silent
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from substitute.core.model.programs import Program

_TICK = 0.005
_START_PATIENCE = 15.0
_KILL_PATIENCE = 5.0
_IMPATIENCE = 0.2
"""Seconds for an answer of one that has not answered the call before."""
_REAP_PATIENCE = 3.0
_LOG_LINES = 2000
_COMES_OR_GOES = r"spawned: '{name}' with pid (\d+)|(?:exited|stopped): {name} \(([^;)]+)"
_LATER = 2
"""Seconds after a program's limit when supervisord kills it too: so it ends even if the command that stops it does not
live so long, and a command that does knows that it had to kill."""
_NO_SUCH_PROGRAM = "BAD_NAME"
_SPAWN_ERROR = 50
"""It could not be started, or had ended by the time that supervisord looked: its own words say which."""
_WANTED = frozenset({"STARTING", "RUNNING", "BACKOFF"})
_RUNNING = frozenset({"STARTING", "RUNNING", "STOPPING"})

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

_PROGRAM = """\
[program:{name}]
command = /bin/sh ./{name}.sh
autostart = false
autorestart = true
startsecs = 1
startretries = 1000000000
stopsignal = TERM
stopwaitsecs = {limit}
stopasgroup = false
killasgroup = true
redirect_stderr = true
umask = 022
stdout_logfile = NONE
"""


@dataclass(frozen=True)
class _Run:
    """One life of a program."""

    pid: int
    ending: str = ""
    """In words; empty while it runs."""


def connect(run_directory: Path, warn: Callable[[str], None] = lambda _: None) -> Supervisord:
    """Make the runtime of the root whose ``deploy/run`` is `run_directory`; `warn` takes what users should read."""
    return Supervisord(run_directory, warn)


class Supervisord:
    """See `core.ports.runtime.Runtime`."""

    def __init__(self, run_directory: Path, warn: Callable[[str], None] = lambda _: None) -> None:
        self._run = run_directory
        self._warn = warn
        self._patience = PATIENCE

    def start(self, program: Program) -> Process:
        """Write its launcher, tell supervisord of it where it is new, and start it."""
        self._ensure_running()
        self._prepare(program)
        self._register(program)
        log = self.log(program.name, program.log)
        try:
            self._call("startProcess", program.name, False)  # noqa: FBT003
        except Fault as fault:
            if fault.code != _SPAWN_ERROR:
                raise RuntimeFailedError(f"{program.name} cannot be started.", fact=fault.text) from fault
        info = self._info(program.name)
        process = identify(info["pid"], zombie=True) if info and info["pid"] else None
        if process is None:
            self.stop(program.name, None, timeout=program.stop_timeout)  # else it would be tried for ever
            ending = self._known_ending(program.name)
            tail = [f"  | {line}" for line in log.lines(ended=True)[-10:]]
            raise RuntimeFailedError(
                f"{program.name} exited as soon as it was started.",
                fact="\n".join([f"Its end: {ending}.", *tail]),
            )
        self._await_execution(process)
        return process

    def inspect(self, name: str) -> Inspection:
        """Ask supervisord; one that does not run knows nothing. Raises Silent."""
        info = self._info(name)
        if info is None:
            return Inspection(None)
        process = identify(info["pid"]) if info["pid"] else None
        runs = self._runs(name)
        pids = tuple(run.pid for run in runs)
        if process and runs and runs[-1].pid == process.pid:
            runs.pop()  # the last one is the one before
        elif info["pid"] and not process and (not runs or runs[-1].pid != info["pid"]):
            runs = []
        ending = runs[-1].ending if runs else ""
        return Inspection(process, ending, wanted=info["statename"] in _WANTED, pids=pids)

    def stop(self, name: str, process: Process | None, *, timeout: float) -> Stopped:
        """Through supervisord, so that it does not start it again; an orphan directly."""
        began = time.monotonic()
        ended = [wait_or_kill(name, one, began + timeout) for one in self._begin_to_stop(name, process)]
        self._wait_until_stopped(name)
        return Stopped.of(ended, seconds=time.monotonic() - began)

    def terminate(self, name: str, process: Process | None) -> None:
        """Through supervisord too: it would start again what ends without its doing."""
        self._begin_to_stop(name, process)

    def log(self, name: str, file: Path) -> Appended:
        """What the instance appends to its file."""
        del name
        return Appended(file)

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        """Read them from its file."""
        del name
        return read_tail(file, count)

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        """Follow the files, across their rotation."""
        names = {file: name for name, (file, _) in logs.items()}
        follow(dict(logs.values()), lambda file, line: on_line(names[file], line))

    def trace(self, name: str) -> Process | None:
        """By its launcher's note, in a directory that is the owner's alone; by who keeps it where that was removed."""
        process = launcher.noted(self._run / f"{name}.run")
        return process if process and is_alive(process) else self._child_of_removed(name)

    def _child_of_removed(self, name: str) -> Process | None:
        """What a supervisord runs whose directory was removed: nobody can ask it any more."""
        keepers = [pid for pid in works_in_removed(self._run) if self._is_supervisord(pid)]
        kept = {child for pid in keepers for child in children(pid)}
        app, _, slot = name.rpartition("_")
        origin = {"SUBSTITUTE_APP": app, "SUBSTITUTE_SLOT": slot}
        started = started_with(origin, without=IN_A_HOOK) if kept else []
        return next((process for process in started if process.pid in kept), None)

    def kept(self) -> set[str]:
        """Ask supervisord for all it knows. Raises Silent."""
        try:
            return {info["name"] for info in self._call("getAllProcessInfo") if info["statename"] in _WANTED}
        except Absent:
            return set()

    def release(self, name: str) -> bool:
        """It is the only one."""
        del name
        return True

    def abandon(self) -> None:
        """SIGKILL: what it runs writes to files, and lives on."""
        with self._starting():
            for process in self._supervisords():
                _kill(process)
            (self._run / "supervisord.sock").unlink(missing_ok=True)

    def spawn(
        self, name: str, argv: Sequence[str], *, directory: Path, environment: Mapping[str, str], log: Path
    ) -> Callable[[], None]:
        """A process of its own session, beside supervisord."""
        del name
        pid = spawn_detached(argv, directory=directory, environment=environment, log=log)

        def end() -> None:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)  # our own child, not yet waited for: no other can have its pid
                os.waitpid(pid, 0)

        return end

    def shutdown(self) -> None:
        """End supervisord, and wait until it is gone."""
        with self._starting():
            try:
                process = identify(self._call("getPID"))
                self._call("shutdown")
            except Absent:
                return
            except Silent:
                self._end_all()
                return
            wait_while(lambda: process and is_alive(process), _KILL_PATIENCE, _TICK)

    def _await_execution(self, process: Process) -> None:
        """Until then it is a copy of supervisord, which would take a SIGTERM for its own and forget it."""
        wait_while(lambda: "supervisor.supervisord" in command_line(process.pid), _START_PATIENCE, _TICK / 5)

    def _runs(self, name: str) -> list[_Run]:
        """How `name` came and went, by the log: the API says -1 for every signal, and 0 after a crash at boot.

        One that is gone has no ending before supervisord has looked, which it does once a second.
        """
        lines = "\n".join(read_tail(self._run / "supervisord.log", _LOG_LINES))
        found: list[_Run] = []
        for pid, ending in re.findall(_COMES_OR_GOES.format(name=re.escape(name)), lines):
            if pid:
                found.append(_Run(int(pid)))
            elif found:
                found[-1] = _Run(found[-1].pid, ending)
        return found

    def _known_ending(self, name: str) -> str:
        def ending() -> str:
            runs = self._runs(name)
            return runs[-1].ending if runs else ""

        return wait_until(ending, _REAP_PATIENCE, _TICK) or "unknown"

    # -- supervisord itself ---------------------------------------------------------------------

    def _ensure_running(self) -> None:
        with suppress(Absent, Silent):
            self._call("getPID")
            return
        with self._starting():
            with suppress(Absent, Silent):
                self._call("getPID")
                return
            self._end_all()
            with suppress(Absent):
                self._call("getPID")
            if unit := enclosing_service():
                self._warn(
                    f"supervisord is started inside {unit}: systemd ends it, and all instances, with that unit. "
                    "Run `substitute up` at boot from a unit or cron of its own (docs/operations.md)."
                )
            # Beside a stale socket supervisord hesitates for half a second.
            (self._run / "supervisord.sock").unlink(missing_ok=True)
            (self._run / "supervisord.pid").unlink(missing_ok=True)
            private_directory(self._run / "programs")
            user = "user = root\n" if os.geteuid() == 0 else ""
            write_atomically(self._run / "supervisord.conf", _CONFIGURATION.format(user=user))
            process = identify(
                spawn_detached(
                    [
                        *(sys.executable, "-P", "-m", "supervisor.supervisord"),
                        *("-c", "/proc/self/cwd/supervisord.conf"),
                    ],
                    directory=self._run,
                    environment={"PATH": os.environ.get("PATH", os.defpath)},
                    log=self._run / "supervisord.out",
                )
            )
            self._await_answer(process)

    def _end_silent(self) -> None:
        """Where supervisord does not answer, end it: it might go on at any moment, with what it was told before.

        What it runs goes on, and is ended by its identity.
        """
        try:
            self._call("getPID")
        except Absent:
            return
        except Silent:
            with self._starting():
                try:
                    self._call("getPID")
                except Absent:
                    return
                except Silent:
                    self._end_all()

    def _end_all(self) -> None:
        """End every supervisord of this root, which nobody can reach; there are never two."""
        for process in self._supervisords():
            _kill(process)
            self._warn(
                f"supervisord (pid {process.pid}) did not answer and was ended. What it kept running goes on, and is "
                "not started again if it ends, until the next deployment of each app has replaced it."
            )

    def _supervisords(self) -> list[Process]:
        """Those of this root: who listens on its socket, and whom its file of the pid names."""
        pids = set()
        with suppress(OSError, ValueError):
            pids.add(int((self._run / "supervisord.pid").read_text()))
        pids |= set(works_in_removed(self._run))
        try:
            pids.add(self._call("getPID"))
        except Silent as silent:
            pids |= {silent.process.pid} if silent.process else set()
        except Absent:
            pass
        known = [process for pid in pids if (process := identify(pid))]
        return [process for process in known if self._is_supervisord(process.pid)]

    def _is_supervisord(self, pid: int) -> bool:
        """Whether it is one, and works here: a number in a file says nothing."""
        with suppress(OSError):
            here = pid in works_in_removed(self._run) or Path(f"/proc/{pid}/cwd").samefile(self._run)
            return here and users(pid) == {os.geteuid()} and "supervisor.supervisord" in command_line(pid)
        return False

    def _await_answer(self, process: Process | None) -> None:
        deadline = time.monotonic() + _START_PATIENCE
        while time.monotonic() < deadline and process and is_alive(process):
            with suppress(Absent, Silent):
                self._call("getPID")
                return
            time.sleep(_TICK)
        said = (self._run / "supervisord.out").read_text(errors="replace")[-2000:].strip()
        raise RuntimeFailedError("supervisord did not start.", fact=said)

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Two commands that start at once start one supervisord."""
        descriptor = os.open(
            self._run / own_lock("supervisord"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # -- programs -------------------------------------------------------------------------------

    def _prepare(self, program: Program) -> None:
        become = account(program.user)
        private_directory(program.log.parent)
        log = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if become:
            os.fchown(log, become.uid, become.gid)  # an app may open /dev/stdout anew
        os.close(log)
        rotate_where_large(program.log)
        script = launcher.render(program, become, note=f"{program.name}.run")
        write_atomically(self._run / f"{program.name}.sh", script, mode=0o700)

    def _register(self, program: Program) -> None:
        path = self._run / "programs" / f"{program.name}.conf"
        text = _PROGRAM.format(name=program.name, limit=math.ceil(program.stop_timeout) + _LATER)
        unchanged = path.exists() and path.read_text() == text
        state = self._state(program.name)
        if state in _RUNNING:
            raise RuntimeFailedError(f"{program.name} runs already.")
        if state == "BACKOFF":
            self._call("stopProcess", program.name, not unchanged)
        if unchanged and state:
            return
        write_atomically(path, text)
        with self._starting():  # a reload belongs to one command at a time
            self._call("reloadConfig")
            if state:
                self._call("removeProcessGroup", program.name)
            self._call("addProcessGroup", program.name)

    def _info(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._call("getProcessInfo", name)
        except (Absent, Fault):
            return None
        return found

    def _state(self, name: str) -> str:
        info = self._info(name)
        return info["statename"] if info else ""

    def _call(self, method: str, *arguments: str | bool) -> Any:
        with suppress(PermissionError):
            if not (self._run / "supervisord.sock").exists():
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

    def _begin_to_stop(self, name: str, process: Process | None) -> set[Process]:
        """SIGTERM, unless it had it already; the processes that are to end."""
        try:
            return self._tell_to_stop(name, process)
        except Silent:
            self._end_silent()
            return self._tell_to_stop(name, process)

    def _tell_to_stop(self, name: str, process: Process | None) -> set[Process]:
        info = self._info(name)
        known = identify(info["pid"]) if info and info["pid"] else None
        if info and info["statename"] in _WANTED:
            with suppress(Fault):  # it ended by itself in this moment
                self._call("stopProcess", name, False)  # noqa: FBT003
        if process and process != known:
            signal_process(process, 15)
        return {one for one in (known, process) if one}

    def _wait_until_stopped(self, name: str) -> None:
        """Have supervisord reap it, so that the name can be started again at once."""
        wait_while(lambda: self._state(name) in _RUNNING, _KILL_PATIENCE, _TICK)


def _kill(process: Process) -> None:
    """SIGKILL a supervisord, and wait until it is gone. Raises RuntimeFailedError where it stays."""
    with suppress(PermissionError):
        signal_process(process, signal.SIGKILL)
    if wait_while(lambda: is_alive(process), _KILL_PATIENCE, _TICK):
        raise RuntimeFailedError(f"supervisord (pid {process.pid}) cannot be killed.")
