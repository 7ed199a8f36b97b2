"""supervisord, one for a root, started on demand: it starts instances, and starts them again when they crash."""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from signal import SIGKILL, Signals
from typing import TYPE_CHECKING, Any

from substitute.core.model.environment import IN_A_HOOK
from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import SIGTERM, Inspection, Process, Stopped
from substitute.core.polling import wait_while
from substitute.io.files import private_directory, write_atomically
from substitute.linux.processes import (
    children,
    command_line,
    identify,
    is_alive,
    signal_process,
    started_with,
)
from substitute.linux.users import account
from substitute.runtimes.supervisord.daemon import Daemon
from substitute.runtimes.supervisord.refusals import Absent, Fault, Silent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import BuildLimits, Limits, Program
    from substitute.io.tail import Appended

_TICK = 0.005
_START_PATIENCE = 15.0
_REAP_PATIENCE = 5.0
_LATER = 2
"""Seconds after a program's limit when supervisord kills it too: so it ends even if the command that stops it does not
live so long, and a command that does knows that it had to kill."""
_SPAWN_ERROR = 50
"""It could not be started, or had ended by the time that supervisord looked: its own words say which."""
_WANTED = frozenset({"STARTING", "RUNNING", "BACKOFF"})
_RUNNING = frozenset({"STARTING", "RUNNING", "STOPPING"})

_PROGRAM = """\
[program:{name}]
command = /bin/sh ./{name}.sh
autostart = false
autorestart = true
startsecs = 1
startretries = 1000000000
stopsignal = {signal}
stopwaitsecs = {limit}
stopasgroup = false
killasgroup = true
redirect_stderr = true
umask = 022
stdout_logfile = NONE
"""


def connect(run_directory: Path, warn: Callable[[str], None] = lambda _: None) -> Supervisord:
    """Make the runtime of the root whose ``deploy/run`` is `run_directory`; `warn` takes what users should read."""
    return Supervisord(run_directory, warn)


class Supervisord:
    """See `core.ports.runtime.Runtime`."""

    def __init__(self, run_directory: Path, warn: Callable[[str], None] = lambda _: None) -> None:
        self._run = run_directory
        self._daemon = Daemon(run_directory, warn)

    def start(self, program: Program) -> Process:
        """Write its launcher, tell supervisord of it where it is new, and start it."""
        state = self._state_at_start(program.name)
        self._prepare(program)
        self._register(program, state)
        log = self.log(program.name, program.log)
        try:
            self._daemon.call("startProcess", program.name, False)  # noqa: FBT003
        except Fault as fault:
            if fault.code != _SPAWN_ERROR:
                raise RuntimeFailedError(f"{program.name} cannot be started.", fact=fault.text) from fault
        info = self._info(program.name)
        process = identify(info["pid"], zombie=True) if info and info["pid"] else None
        if process is None:
            from substitute.runtimes.exited_at_once import exited_at_once  # noqa: PLC0415  # of this error alone
            from substitute.runtimes.supervisord.lives import latest_ending  # noqa: PLC0415  # of this error alone

            self.stop(program.name, None, timeout=program.stop_timeout)  # else it would be tried for ever
            ending = latest_ending(self._daemon.log, program.name)
            raise exited_at_once(program.name, ending, log)
        self._await_execution(process)
        return process

    def inspect(self, name: str) -> Inspection:
        """Ask supervisord; one that does not run knows nothing. Raises Silent."""
        info = self._info(name)
        if info is None:
            return Inspection(None)
        from substitute.runtimes.supervisord.lives import lives  # noqa: PLC0415  # few are asked of it

        process = identify(info["pid"]) if info["pid"] else None
        known = lives(self._daemon.log, name)
        pids = tuple(life.pid for life in known)
        if process and known and known[-1].pid == process.pid:
            known.pop()  # the last one is the one before
        elif info["pid"] and not process and (not known or known[-1].pid != info["pid"]):
            known = []
        ending = known[-1].ending if known else ""
        return Inspection(process, ending, wanted=info["statename"] in _WANTED, pids=pids)

    def stop(self, name: str, process: Process | None, *, timeout: float, signal: str = SIGTERM) -> Stopped:
        """Through supervisord, so that it does not start it again; an orphan directly."""
        from substitute.runtimes.orphans import wait_or_kill  # noqa: PLC0415  # a rollback to a standby stops nothing

        began = time.monotonic()
        told = self._begin_to_stop(name, process, signal)
        ended = [wait_or_kill(name, one, began + timeout, signal) for one in told]
        self._wait_until_stopped(name)
        return Stopped.of(ended, seconds=time.monotonic() - began)

    def terminate(self, name: str, process: Process | None, *, signal: str = SIGTERM) -> None:
        """Through supervisord too: it would start again what ends without its doing."""
        self._begin_to_stop(name, process, signal)

    def log(self, name: str, file: Path) -> Appended:
        """What the instance appends to its file."""
        del name
        from substitute.io.tail import Appended  # noqa: PLC0415  # `status` reads no log

        return Appended(file)

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        """Read them from its file."""
        del name
        from substitute.io.rotation import read_tail  # noqa: PLC0415  # of an error alone

        return read_tail(file, count)

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        """Follow the files, across their rotation."""
        from substitute.io.tail import follow  # noqa: PLC0415  # as above

        names = {file: name for name, (file, _) in logs.items()}
        follow(dict(logs.values()), lambda file, line: on_line(names[file], line))

    def freeze(self, name: str) -> None:
        """It has no means to: SIGSTOP would be seen by the program."""

    def thaw(self, name: str) -> None:
        """Nothing is ever frozen."""

    def trace(self, name: str) -> Process | None:
        """Read its launcher's note, in the owner's own directory; look at who keeps it where that was removed."""
        from substitute.runtimes.supervisord import launcher  # noqa: PLC0415  # few ask for it

        process = launcher.noted(self._run / f"{name}.run")
        return process if process and is_alive(process) else self._child_of_removed(name)

    def _child_of_removed(self, name: str) -> Process | None:
        """What a supervisord runs whose directory was removed: nobody can ask it any more."""
        kept = {child for pid in self._daemon.lost() for child in children(pid)}
        app, _, slot = name.rpartition("_")
        origin = {"SUBSTITUTE_APP": app, "SUBSTITUTE_SLOT": slot}
        started = started_with(origin, without=IN_A_HOOK) if kept else []
        return next((process for process in started if process.pid in kept), None)

    def kept(self) -> set[str]:
        """Ask supervisord for all it knows. Raises Silent."""
        try:
            return {
                info["name"]
                for info in self._daemon.call("getAllProcessInfo")
                if info["statename"] in _WANTED
            }
        except Absent:
            return set()

    def release(self, name: str) -> bool:
        """Nothing to do: no other runtime keeps anything."""
        del name
        return True

    def abandon(self) -> None:
        """SIGKILL: what it runs writes to files, and lives on."""
        self._daemon.kill()

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
        """A process of its own session, beside supervisord."""
        del name, stop_timeout
        from substitute.linux.subprocesses import spawn_detached  # noqa: PLC0415

        pid = spawn_detached(argv, directory=directory, environment=environment, log=log)

        def end() -> None:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, SIGKILL)  # our own child, not yet waited for: no other can have its pid
                os.waitpid(pid, 0)

        return end

    def confine(self, name: str, process: Process, limits: Limits) -> None:
        """It can hold nothing to limits."""
        del name, process, limits

    def confine_build(self, name: str, process: Process, limits: BuildLimits) -> None:
        """There is niceness only, which needs nobody; limits are refused when the configuration is read."""

    def end_builds(self, name: str) -> None:
        """There is nothing but its process group."""

    def shutdown(self) -> None:
        """End supervisord, and wait until it is gone."""
        self._daemon.shutdown()

    def _state_at_start(self, name: str) -> str:
        """Its state, as `_state` has it, of a supervisord that is started where none answers."""
        with suppress(Absent, Silent):
            return self._known_state(name)
        self._daemon.ensure_running()
        return self._state(name)

    def _prepare(self, program: Program) -> None:
        from substitute.io.rotation import rotate_where_large  # noqa: PLC0415  # a rollback to a standby starts nothing
        from substitute.runtimes.supervisord import launcher  # noqa: PLC0415

        become = account(program.user)
        private_directory(program.log.parent)
        log = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if become:
            os.fchown(log, become.uid, become.gid)  # an app may open /dev/stdout anew
        os.close(log)
        rotate_where_large(program.log)
        script = launcher.render(program, become, note=f"{program.name}.run")
        file = self._run / f"{program.name}.sh"
        with suppress(OSError):
            if file.read_bytes() == script.encode():
                return
        write_atomically(file, script, mode=0o700, durably=False)  # each start looks at it first

    def _register(self, program: Program, state: str) -> None:
        path = self._daemon.programs / f"{program.name}.conf"
        limit = math.ceil(program.stop_timeout) + _LATER
        text = _PROGRAM.format(name=program.name, limit=limit, signal=program.stop_signal)
        unchanged = path.exists() and path.read_text() == text
        if state in _RUNNING:
            raise RuntimeFailedError(f"{program.name} runs already.")
        if state == "BACKOFF":
            self._daemon.call("stopProcess", program.name, not unchanged)
        if unchanged and state:
            return
        write_atomically(path, text)
        with self._daemon.locked():  # a reload belongs to one command at a time
            self._daemon.call("reloadConfig")
            if state:
                self._daemon.call("removeProcessGroup", program.name)
            self._daemon.call("addProcessGroup", program.name)

    def _await_execution(self, process: Process) -> None:
        """Until then it is a copy of supervisord, which would take a signal for its own and forget it."""
        wait_while(lambda: "supervisor.supervisord" in command_line(process.pid), _START_PATIENCE, _TICK / 5)

    def _info(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._daemon.call("getProcessInfo", name)
        except (Absent, Fault):
            return None
        return found

    def _state(self, name: str) -> str:
        with suppress(Absent):
            return self._known_state(name)
        return ""

    def _known_state(self, name: str) -> str:
        try:
            found: str = self._daemon.call("getProcessInfo", name)["statename"]
        except Fault:
            return ""
        return found

    def _begin_to_stop(self, name: str, process: Process | None, signal: str) -> set[Process]:
        """The stop signal, unless it had it already; the processes that are to end."""
        try:
            return self._tell_to_stop(name, process, signal)
        except Silent:
            self._daemon.end_silent()
            return self._tell_to_stop(name, process, signal)

    def _tell_to_stop(self, name: str, process: Process | None, signal: str) -> set[Process]:
        info = self._info(name)
        known = identify(info["pid"]) if info and info["pid"] else None
        if info and info["statename"] in _WANTED:
            with suppress(Fault):  # it ended by itself in this moment
                self._daemon.call("stopProcess", name, False)  # noqa: FBT003
        if process and process != known:
            signal_process(process, Signals[signal])
        return {one for one in (known, process) if one}

    def _wait_until_stopped(self, name: str) -> None:
        """Have supervisord reap it, so that the name can be started again at once."""
        wait_while(lambda: self._state(name) in _RUNNING, _REAP_PATIENCE, _TICK)
