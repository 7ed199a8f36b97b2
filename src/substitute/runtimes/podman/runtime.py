"""Podman beside the runtime that keeps everything: a container is one of its programs, and executes `podman run`.

So it is started again, limited and logged as every other one is. What the base takes for its main process is Podman's
own: here the container's is told, which its watchman (conmon) has as a child, whatever became of the client.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import time
from contextlib import suppress
from signal import Signals
from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import SIGTERM, Inspection, Stopped
from substitute.core.polling import wait_until
from substitute.io.files import private_directory, write_atomically
from substitute.linux.containers import is_executed, is_watched, main_process
from substitute.linux.processes import is_alive, signal_process
from substitute.linux.programs import find_program
from substitute.linux.root_names import prefix_of
from substitute.linux.subprocesses import capture
from substitute.runtimes.containers import BesideBase
from substitute.runtimes.orphans import wait_or_kill
from substitute.runtimes.podman import command
from substitute.values import replace

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.model.programs import Container, Process, Program
    from substitute.core.ports.runtime import Log, Runtime

_TICK = 0.002
_PATIENCE = 1.0
_CLEANUP = 10.0
"""Seconds past its limit that Podman has to remove what a container leaves."""
_FORGETTING = 60.0
_STATUS = re.compile(r"exit status (\d+)")
_SIGNALLED = 128
"""Podman and conmon exit with this and the number of the signal that ended their container."""


def connect(base: Runtime, root: Path, *, in_unit: bool) -> Podman:
    """Make the runtime of `root`; `in_unit` says that what `base` starts is a unit of systemd's."""
    return Podman(base, root / "deploy" / "run", in_unit=in_unit)


class Podman(BesideBase):
    """See `core.ports.runtime.Runtime`."""

    def __init__(self, base: Runtime, run_directory: Path, *, in_unit: bool) -> None:
        """`in_unit` says that what `base` starts is a unit of systemd's."""
        super().__init__(base)
        self._run = run_directory
        self._prefix = prefix_of(run_directory.resolve().parent.parent)
        self._in_unit = in_unit

    def start(self, program: Program) -> Process:
        """Have the base run the container, and return when its program is executed."""
        container, note = program.container, self._note(program.name)
        if container is None:
            note.unlink(missing_ok=True)
            return super().start(program)
        if self._main(program.name):
            raise RuntimeFailedError(f"{program.name} runs already.")
        given = self._for_base(program, container)
        private_directory(self._run)
        write_atomically(note, command.Environment.of(program).file)
        log = self._base.log(program.name, program.log)
        client = super().start(given)
        return self._await_program(program, client, log)

    def inspect(self, name: str) -> Inspection:
        """What the base says, of the container's main process. It is not told of before it is executed."""
        found = super().inspect(name)
        if not self._is_container(name, found.process):
            return found
        process = self._main(name)
        if process and not is_executed(process):
            process = None
        return Inspection(
            process,
            # A client outlives its container for a moment, in which the base knows of the end before this one.
            exit="" if found.process and not process else _in_words(found.exit),
            wanted=found.wanted,
            ready=found.ready,
            restarts=found.restarts,
        )

    def stop(self, name: str, process: Process | None, *, timeout: float, signal: str = SIGTERM) -> Stopped:
        """Through the base, whose limit holds too; what the base has lost directly. The container is gone then."""
        if not self._is_container(name, process):
            return super().stop(name, process, timeout=timeout, signal=signal)
        began = time.monotonic()
        deadline = began + timeout
        told, clean = self._begin_to_stop(name, process, signal)
        ended = [wait_or_kill(name, one, deadline, signal) for one in told]
        rest = max(0.0, deadline - time.monotonic()) + _CLEANUP
        ended.append(super().stop(name, None, timeout=rest, signal=signal))
        if left := self._main(name):  # the client ended before it could hand the signal on
            signal_process(left, Signals[signal])
            ended.append(wait_or_kill(name, left, deadline, signal))
            clean = False
        stopped = Stopped.of(ended, seconds=time.monotonic() - began)
        if stopped.killed or not clean:
            self._forget(name)
        self._pid(name).unlink(missing_ok=True)
        self._note(name).unlink(missing_ok=True)
        return stopped

    def terminate(self, name: str, process: Process | None, *, signal: str = SIGTERM) -> None:
        """Through the base too: it would start again what ends without its doing."""
        if self._is_container(name, process):
            self._begin_to_stop(name, process, signal)
        else:
            super().terminate(name, process, signal=signal)

    def trace(self, name: str) -> Process | None:
        """Find it as the child of Podman's watchman (conmon)."""
        return self._main(name) or (None if self._note(name).exists() else super().trace(name))

    # -- starting -------------------------------------------------------------------------------

    def _for_base(self, program: Program, container: Container) -> Program:
        podman = find_program("podman")
        if podman is None:
            raise RuntimeFailedError("There is no podman here.", cure="Install it (`apt install podman`).")
        if os.geteuid() != 0:
            raise RuntimeFailedError(
                f"{program.name} cannot run in a container: Podman is used as root only.",
                cure="Have root own the root directory.",
            )
        called = self._called(program.name)
        note, pid = self._note(program.name), self._pid(program.name)
        line = command.run(podman, called, program, container, note=note, pid=pid, in_unit=self._in_unit)
        forwarded = not self._in_unit or program.stop_signal in command.FORWARDED
        return replace(
            program,
            command=f"exec {shlex.join(line)}",
            directory=self._run,
            environment={**_of_client(), **command.Environment.of(program).handed_on},
            stop_signal=program.stop_signal if forwarded else "SIGCONT",
            stop_command=() if forwarded else tuple(command.kill(podman, called, program.stop_signal)),
            user=None,
            protections=frozenset(),  # it makes a container, which has them
            notifies=True,
            delegates=True,
            container=None,
        )

    def _await_program(self, program: Program, client: Process, log: Log) -> Process:
        while True:
            running = is_alive(client)
            process = self._main(program.name)
            if process and is_executed(process) and self._is_handed_over(program):
                return process
            if not running:
                break
            time.sleep(_TICK)
        from substitute.runtimes.exited_at_once import exited_at_once  # noqa: PLC0415  # of this error alone

        ending = wait_until(lambda: super(Podman, self).inspect(program.name).exit, _PATIENCE, _TICK)
        self.stop(program.name, None, timeout=program.stop_timeout)  # else it would be tried again
        raise exited_at_once(program.name, _in_words(ending or "unknown"), log)

    def _is_handed_over(self, program: Program) -> bool:
        """Whether systemd knows its watchman, whom it is to signal from then on, and no more the client."""
        return not self._in_unit or program.notifies or super().inspect(program.name).ready

    # -- observing ------------------------------------------------------------------------------

    def _called(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _note(self, name: str) -> Path:
        """The environment of its container. While it lies there, Podman may know of one."""
        return self._run / f"{name}.container"

    def _is_container(self, name: str, process: Process | None) -> bool:
        """Whether `name` runs in a container; `process` is what its base or the journal takes for its main one."""
        return self._note(name).exists() or (process is not None and is_watched(process.pid))

    def _main(self, name: str) -> Process | None:
        return main_process(self._called(name), self._pid(name))

    def _pid(self, name: str) -> Path:
        return self._run / f"{name}.pid"

    # -- stopping -------------------------------------------------------------------------------

    def _begin_to_stop(self, name: str, process: Process | None, signal: str) -> tuple[set[Process], bool]:
        """The stop signal, unless it had it already. What is to end, and whether Podman itself will clean up."""
        main, kept = self._main(name), False
        with suppress(RuntimeFailedError):  # one that does not tell hands nothing on
            kept = super().inspect(name).process is not None
        super().terminate(name, None, signal=signal)
        told = {one for one in (main, process) if one}
        for one in told:
            if one != main or not kept:
                signal_process(one, Signals[signal])
        return told, kept and main is not None

    def _forget(self, name: str) -> None:
        """Have Podman remove what may be left of the container, which takes it a tenth of a second."""
        podman = find_program("podman")
        if podman is None:
            return
        line = command.remove(podman, self._called(name))
        # Where nobody watched the end, the first call finds out that there was one, and fails for that.
        for _ in range(2):
            done = capture(line, environment=_of_client(), timeout=_FORGETTING)
            if done.status == 0:
                return
        raise RuntimeFailedError(f"The container of {name} cannot be removed.", fact=done.err.strip())


def _in_words(ending: str) -> str:
    found = _STATUS.match(ending)
    if found and int(found[1]) > _SIGNALLED:
        with suppress(ValueError):
            return Signals(int(found[1]) - _SIGNALLED).name
    return ending


def _of_client() -> dict[str, str]:
    """The environment of `podman` itself: how it is set up here, and nothing of the program's."""
    found = {"PATH": os.environ.get("PATH", os.defpath), "HOME": pwd.getpwuid(os.geteuid()).pw_dir}
    return found | {key: os.environ[key] for key in ("CONTAINERS_CONF",) if key in os.environ}
