"""systemd, the system's manager or a user's own: a unit for each program, in a slice of the root's own.

The files lie in /run, so that a reboot leaves none behind: `substitute up` writes them again.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from signal import SIGKILL, Signals
from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import SIGTERM, Inspection, Process, Stopped
from substitute.core.polling import wait_until
from substitute.io.files import private_directory, write_atomically
from substitute.linux.processes import identify, signal_process
from substitute.runtimes.systemd import units
from substitute.runtimes.systemd.bus import Bus, Gone, Refused, Silent, address_of
from substitute.runtimes.systemd.transient import (
    confine,
    confine_build,
    end_scopes,
    limit_properties,
    once,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from substitute.core.model.programs import BuildLimits, Limits, Program
    from substitute.runtimes.systemd.journal import Written

_TICK = 0.002
_KILL_PATIENCE = 10.0
_FOLLOW = 1.0
"""Seconds between two looks at the journal, where nothing announces itself."""
_MARGIN = 0.5
"""Seconds past a limit in which systemd itself, which has the same one, may kill."""
_LINGERS = "`loginctl enable-linger` keeps your own systemd running."
_AT_REST = frozenset({"inactive", "failed"})
_UP = frozenset({"active", "activating", "reloading"})


def connect(run_directory: Path, warn: Callable[[str], None] = lambda _: None) -> Systemd:
    """Make the runtime of the root whose ``deploy/run`` is `run_directory`: root's is the system's manager."""
    return Systemd(run_directory.resolve().parent.parent, user=os.geteuid() != 0, warn=warn)


class Systemd:
    """See `core.ports.runtime.Runtime`."""

    def __init__(self, root: Path, *, user: bool, warn: Callable[[str], None] = lambda _: None) -> None:
        self._names = units.Names(root)
        self._warn = warn
        self._user = user
        self._bus = Bus(address_of(user=user), cure=_LINGERS if user else "")
        run = Path(address_of(user=user)).parent.parent
        self._units = run / "systemd" / ("user" if user else "system")
        self._environments = run / self._names.prefix

    def start(self, program: Program) -> Process:
        """Write its unit and its environment, and start it. systemd reads what is new without being told."""
        unit = self._names.service(program.name)
        if program.user and self._user:
            raise RuntimeFailedError(
                f"{program.name} cannot run as {program.user}: a user's systemd runs programs of that user alone."
            )
        log = self.log(program.name, program.log)
        try:
            self._require_at_rest(program.name)
            self._write(program)
            if self._is_loaded(unit) and self._bus.property(unit, "Unit", "NeedDaemonReload"):
                self._bus.call("Reload")
            self._require_ours(unit)
            self._bus.call("StartUnit", "ss", unit, "replace")
            process = self._await_process(unit, program)
        except Refused as refused:
            raise RuntimeFailedError(f"{program.name} cannot be started.", fact=refused.fact) from refused
        if process is None:
            from substitute.runtimes.exited_at_once import exited_at_once  # noqa: PLC0415  # of this error alone
            from substitute.runtimes.systemd.endings import known_ending  # noqa: PLC0415  # of this error alone

            ending = known_ending(self._bus, unit)
            self.stop(program.name, None, timeout=program.stop_timeout)  # else it would be tried again
            raise exited_at_once(program.name, ending, log)
        return process

    def inspect(self, name: str) -> Inspection:
        """Ask systemd; one that is gone knows nothing. Raises Silent."""
        from substitute.runtimes.systemd.endings import ending  # noqa: PLC0415  # few are asked of it

        unit = self._names.service(name)
        try:
            state = self._bus.property(unit, "Unit", "ActiveState")
            process = self._main(unit)
            return Inspection(
                process,
                exit="" if process else ending(self._bus, unit),
                wanted=state in _UP,
                ready=state == "active",
                restarts=self._bus.property(unit, "Service", "NRestarts"),
            )
        except (Gone, Refused):
            return Inspection(None)

    def stop(self, name: str, process: Process | None, *, timeout: float, signal: str = SIGTERM) -> Stopped:
        """Through systemd, whose own limit holds even if this command is killed; an orphan directly."""
        began = time.monotonic()
        unit = self._names.service(name)
        ended = []
        try:
            orphan = self._begin_to_stop(unit, process, signal)
            ended.append(self._finish_stopping(name, unit, began + timeout))
        except Gone:
            if process is None:
                return Stopped(killed=False, seconds=time.monotonic() - began)
            orphan = process
            if not signal_process(process, Signals[signal]):
                raise
        if orphan:
            from substitute.runtimes.orphans import wait_or_kill  # noqa: PLC0415  # there is seldom one

            ended.append(wait_or_kill(name, orphan, began + timeout, signal))
        return Stopped.of(ended, seconds=time.monotonic() - began)

    def terminate(self, name: str, process: Process | None, *, signal: str = SIGTERM) -> None:
        """Through systemd too: it would start again what ends without its doing."""
        self._begin_to_stop(self._names.service(name), process, signal)

    def log(self, name: str, file: Path) -> Written:
        """What the journal gets of its unit."""
        del file
        from substitute.runtimes.systemd.journal import Written  # noqa: PLC0415  # slow to import, for ctypes

        return Written(self._names.service(name), user=self._user)

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        """Read them from the journal."""
        del file
        from substitute.runtimes.systemd.journal import Journal  # noqa: PLC0415  # as above

        with suppress(OSError):
            found = Journal([self._names.service(name)], user=self._user).last(count)
            return [line for _, line in found]
        return []

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        """Follow the units in one journal, so that their lines come in the order they were written in."""
        from substitute.runtimes.systemd.journal import Journal  # noqa: PLC0415  # as above

        names = {self._names.service(name): name for name in logs}
        journal = Journal(list(names), user=self._user)
        for name, (_, count) in logs.items():
            for _, line in Journal([self._names.service(name)], user=self._user, since=journal.since).last(
                count
            ):
                on_line(name, line)
        while True:
            for unit, line in journal.new():
                on_line(names[unit], line)
            journal.wait(_FOLLOW)

    def freeze(self, name: str) -> None:
        """Use the freezer of its control group, which only cgroup v2 has for systemd. Elsewhere it runs on."""
        with suppress(Refused):
            self._bus.call("FreezeUnit", "s", self._names.service(name))

    def thaw(self, name: str) -> None:
        """Ask first whether it is frozen, which is quick."""
        self._thaw(self._names.service(name))

    def _thaw(self, unit: str) -> None:
        with suppress(Refused):
            if self._bus.property(unit, "Unit", "FreezerState") != "running":
                self._bus.call("ThawUnit", "s", unit)

    def trace(self, name: str) -> Process | None:
        """Ask the manager. If that is silent, look in its control group, into which only the manager puts anything.

        The group alone does not tell what a main process that is gone has left behind.
        """
        unit = self._names.service(name)
        try:
            return self._main(unit)
        except Silent:
            from substitute.runtimes.systemd.control_groups import main_process, place_of  # noqa: PLC0415  # seldom

            return main_process(place_of(unit, self._names.slice, user=self._user))
        except Refused:
            return None

    def kept(self) -> set[str]:
        """Of the units that lie there, those that are not at rest. Raises Silent where that cannot be known."""
        with suppress(Gone):
            return {
                file.stem.removeprefix(f"{self._names.prefix}-")
                for file in self._units.glob(f"{self._names.prefix}-*.service")
                if self._bus.property(file.name, "Unit", "ActiveState") not in _AT_REST
            }
        return set()

    def release(self, name: str) -> bool:
        """Nothing to do: no other runtime keeps anything."""
        del name
        return True

    def abandon(self) -> None:
        """Each unit is told not to be started again; its process stays where it is."""
        with suppress(Silent, Refused):
            for name in self.kept():
                drop_in = self._drop_in(name)
                drop_in.parent.mkdir(exist_ok=True)
                write_atomically(drop_in, "[Service]\nRestart=no\n", mode=0o644)
            self._bus.call("Reload")

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
        """A transient unit, which ends with no login and with no job that this command is part of."""
        del log
        unit = self._names.service(name)
        properties = once(argv, directory=directory, environment=environment, stop_timeout=stop_timeout)
        self._rests_within(unit, _KILL_PATIENCE)  # one that an earlier command left
        start(self._bus, unit, self._names, name, properties)

        def end() -> None:
            with suppress(Silent, Refused):
                self._bus.call("StopUnit", "ss", unit, "replace")
                self._rests_within(unit, _KILL_PATIENCE)

        return end

    def confine(self, name: str, process: Process, limits: Limits) -> None:
        """A transient scope. How many files may be open is the kernel's own limit."""
        if limits.nofile is not None:
            import resource  # noqa: PLC0415  # few set it

            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (limits.nofile, limits.nofile))
        if properties := limit_properties(limits):
            confine(self._bus, self._names, name, process, properties)

    def confine_build(self, name: str, process: Process, limits: BuildLimits) -> None:
        """In a transient scope, into which systemd puts what runs already."""
        if limits.needs_a_group:
            confine_build(self._bus, self._names.scope(name, process.pid), process, limits)

    def end_builds(self, name: str) -> None:
        """With the scopes of its commands."""
        with suppress(Gone):
            end_scopes(self._bus, self._names.scope(name, "*"))

    def shutdown(self) -> None:
        """Remove what was written for this root. The manager itself is the machine's, or the user's."""
        with suppress(Silent, Refused):
            for file in self._units.glob(f"{self._names.prefix}-*.service"):
                if self._bus.property(file.name, "Unit", "ActiveState") in _AT_REST:
                    file.unlink(missing_ok=True)
                    name = file.stem.removeprefix(f"{self._names.prefix}-")
                    self._environment(name).unlink(missing_ok=True)
                    self._forget_abandoned(name)
            commands = ("ListUnitsByPatterns", "asas", ["active"], [f"{self._names.prefix}-run-*"])
            if not list(self._units.glob(f"{self._names.prefix}-*.service")) and not self._bus.call(
                *commands
            ):
                self._bus.call("StopUnit", "ss", self._names.slice, "replace")
                (self._units / self._names.slice).unlink(missing_ok=True)
                with suppress(OSError):
                    self._environments.rmdir()

    # -- starting -------------------------------------------------------------------------------

    def _require_at_rest(self, name: str) -> None:
        unit = self._names.service(name)
        if not self._is_loaded(
            unit
        ):  # asked first, as a question for its state would load the file that is there now
            return
        if self._main(unit):
            raise RuntimeFailedError(f"{name} runs already.")
        self.stop(name, None, timeout=0.0)  # what waits for its next try, or has given up

    def _require_ours(self, unit: str) -> None:
        """A unit of that name in a place that comes before would be run instead of ours, and nobody would say so."""
        found = self._bus.property(unit, "Unit", "FragmentPath")
        if found != str(self._units / unit):
            tool = "systemctl --user" if self._user else "systemctl"
            masked = self._bus.property(unit, "Unit", "LoadState") == "masked"
            away = f"`{tool} unmask {unit}`" if masked else f"`rm {found}` and `{tool} daemon-reload`"
            raise RuntimeFailedError(
                f"systemd would not run {unit} as substitute wrote it.",
                fact="It is masked." if masked else f"It would run {found or 'nothing'} instead.",
                cure=f"Type {away}. What is to be added to it belongs in `{tool} edit {unit}`.",
            )
        added = self._bus.property(unit, "Unit", "DropInPaths")
        if theirs := [path for path in added if Path(path).parent.name.startswith("substitute-")]:
            self._warn(f"{unit} has more to it than substitute wrote: {', '.join(theirs)}.")

    def _is_loaded(self, unit: str) -> bool:
        try:
            self._bus.call("GetUnit", "s", unit)
        except Refused:
            return False
        return True

    def _write(self, program: Program) -> None:
        self._units.mkdir(parents=True, exist_ok=True)
        private_directory(self._environments)
        environment = self._environment(program.name)
        unit = units.render(program, self._names, self._manager, environment)
        write_atomically(environment, units.render_environment(program.environment))
        _write_where_new(self._units / self._names.slice, units.render_slice(self._names.root))
        _write_where_new(self._units / self._names.service(program.name), unit)
        self._forget_abandoned(program.name)

    def _environment(self, name: str) -> Path:
        return self._environments / f"{name}.env"

    def _drop_in(self, name: str) -> Path:
        return self._units / f"{self._names.service(name)}.d" / "abandoned.conf"

    def _forget_abandoned(self, name: str) -> None:
        self._drop_in(name).unlink(missing_ok=True)
        with suppress(OSError):
            self._drop_in(name).parent.rmdir()

    @cached_property
    def _manager(self) -> units.Manager:
        version = re.search(r"\d+", str(self._bus.manager_property("Version")))
        inherited = [entry.partition("=")[0] for entry in self._bus.manager_property("Environment")]
        return units.Manager(self._user, int(version[0]) if version else 0, inherited)

    def _await_process(self, unit: str, program: Program) -> Process | None:
        """The main process as soon as there is one; None where it ended before that."""
        while True:
            waiting = self._bus.property(unit, "Unit", "Job")[0]
            if program.notifies or not waiting:
                pid = self._bus.property(unit, "Service", "MainPID")
                process = identify(pid, zombie=True) if pid else None
                if process or not waiting:
                    return process
            time.sleep(_TICK)

    # -- observing ------------------------------------------------------------------------------

    def _main(self, unit: str) -> Process | None:
        pid = self._bus.property(unit, "Service", "MainPID")
        return identify(pid) if pid else None

    # -- stopping -------------------------------------------------------------------------------

    def _begin_to_stop(self, unit: str, process: Process | None, signal: str) -> Process | None:
        """The stop signal, unless it had it already. Returns `process` where it is none of the unit's."""
        known = self._main(unit)
        self._thaw(unit)
        if self._bus.property(unit, "Unit", "ActiveState") not in _AT_REST:
            with suppress(Refused):  # it ended by itself in this moment
                self._bus.call("StopUnit", "ss", unit, "replace")
        if process is None or process == known or not signal_process(process, Signals[signal]):
            return None
        return process

    def _finish_stopping(self, name: str, unit: str, deadline: float) -> Stopped:
        """Wait until nothing is left in its cgroup; past `deadline` SIGKILL to all of it.

        What the main process leaves is killed by systemd at once (KillMode=mixed), and is never waited for.
        """
        began = time.monotonic()
        left = deadline - began
        killed = not self._rests_within(unit, left + _MARGIN if left > 0 else 0.0)
        if killed:
            with suppress(Refused):  # it ended by itself in this moment
                self._bus.call("KillUnit", "ssi", unit, "all", SIGKILL)
            if not self._rests_within(unit, _KILL_PATIENCE):
                raise RuntimeFailedError(f"{name} cannot be killed.", fact=f"See `systemctl status {unit}`.")
        killed = killed or self._bus.property(unit, "Service", "Result") == "timeout"
        with suppress(Refused):  # a failed unit would be kept in memory, as its file is now
            self._bus.call("ResetFailedUnit", "s", unit)
        return Stopped(killed=killed, seconds=time.monotonic() - began)

    def _rests_within(self, unit: str, seconds: float) -> bool:
        return wait_until(lambda: self._bus.property(unit, "Unit", "ActiveState") in _AT_REST, seconds, _TICK)


def _write_where_new(file: Path, text: str) -> None:
    if not file.exists() or file.read_text() != text:
        write_atomically(file, text, mode=0o644)
