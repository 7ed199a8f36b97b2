"""The commands that substitute.toml gives for a version, run in its slot one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.running.enclosed import Command, called, enclosed, end_enclosed
from substitute.core.model.events import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.deploy.attempt import Attempt
    from substitute.core.model.errors import DeploymentFailedError
    from substitute.core.model.programs import BuildLimits, Process
    from substitute.core.model.slots import Phase

_KILLED = (-9, 137)
"""SIGKILL, to the command itself, or to what its shell waited for."""


def run_commands(
    attempt: Attempt,
    phase: Phase,
    commands: Sequence[str],
    *,
    timeout: float,
    failure: type[DeploymentFailedError],
    limits: BuildLimits | None = None,
) -> None:
    """Run these lines of shell with the app's environment, as its user. See `run_all`."""
    app, name = attempt.app, called(attempt.app.name, phase)
    lines = []
    for command in commands:
        shell = ("/bin/sh", "-c", command)
        plain = Command(shell, attempt.slot.place(app), attempt.environment(), app.user)
        lines.append((command, enclosed(attempt.host, app, plain, name=name)))
    try:
        run_all(attempt, phase, lines, timeout=timeout, failure=failure, limits=limits)
    except BaseException:  # a container may go on without the program that was ended
        end_enclosed(attempt.host, name)
        raise


def run_all(
    attempt: Attempt,
    phase: Phase,
    commands: Sequence[tuple[str, Command]],
    *,
    timeout: float,
    failure: type[DeploymentFailedError],
    limits: BuildLimits | None = None,
    changes_files: bool = True,
) -> None:
    """Run `commands`, each with what it is called, within `limits`; `timeout` is for all of them.

    Their output is shown and logged. Where there are `limits`, what they have left ends with the last one. Whoever
    kills this process finds them in the journal. Without `changes_files` the slot can be changed back afterwards.
    Raises `failure`.
    """
    host, app = attempt.host, attempt.app
    if not commands:
        return

    def on_start(process: Process) -> None:
        host.journal.command_started(app.name, process, changes_files=changes_files)
        if limits:
            host.runtime.confine_build(app.name, process, limits)

    deadline = host.clock.monotonic() + timeout
    for called, command in commands:
        attempt.emit(Output(phase, f"$ {called}"))
        ended = host.commands.run(
            command.argv,
            directory=command.directory,
            environment=command.environment,
            on_line=attempt.show(phase),
            on_start=on_start,
            timeout=max(deadline - host.clock.monotonic(), 0.0),
            user=command.user,
            nice=limits.nice if limits else 0,
        )
        fact = "\n".join(f"  | {line}" for line in ended.tail)
        if ended.timed_out:
            raise failure(
                f"The {phase} had not ended after {timeout:g}s: `{called}` was ended.",
                fact=fact,
                cure=f"If the {phase} needs longer, raise app.{app.name}.{phase}_timeout.",
            )
        if ended.status:
            raise failure(
                f"The {phase} command `{called}` failed with exit status {ended.status}.",
                fact=fact,
                cure=_cure(attempt, phase, ended.status, limits),
            )
    if limits:
        host.runtime.end_builds(app.name)
    host.journal.forget_commands(app.name)


def _cure(attempt: Attempt, phase: Phase, status: int, limits: BuildLimits | None) -> str:
    if limits and limits.memory is not None and status in _KILLED:
        name = attempt.app.name
        return f"The kernel may have killed it for its memory: raise app.{name}.build_limits.memory."
    return f"Fix the {phase} and deploy again."
