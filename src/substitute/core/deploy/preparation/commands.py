"""The commands that substitute.toml gives for a version, run in its slot one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.in_container import Command, called, end_container, in_container
from substitute.core.model.events import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.deploy.attempt import Attempt
    from substitute.core.model.errors import DeploymentFailedError
    from substitute.core.model.programs import BuildLimits, Process
    from substitute.core.model.slots import Phase
    from substitute.core.ports.commands import Finished

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
        lines.append((command, in_container(attempt.host, app, plain, name=name)))
    try:
        run_all(attempt, phase, lines, timeout=timeout, failure=failure, limits=limits)
    except BaseException:  # a container may go on without the program that was ended
        end_container(attempt.host, name)
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
    cure: str = "",
) -> None:
    """Run `commands`, each with what it is called, within `limits`; `timeout` is for all of them.

    Their output is shown and logged. Where there are `limits`, what they have left ends with the last one. Whoever
    kills this process finds them in the journal. Without `changes_files` the slot can be changed back afterwards.
    Raises `failure`; `cure` is what is to be done then, where it is not the version that is wrong.
    """
    host, app = attempt.host, attempt.app
    if not commands:
        return

    def on_start(process: Process) -> None:
        host.journal.command_started(app.name, process, changes_files=changes_files)
        if limits:
            host.runtime.confine_build(app.name, process, limits)

    deadline = host.clock.monotonic() + timeout
    for line, command in commands:
        attempt.emit(Output(phase, f"$ {line}"))
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
        if ended.timed_out or ended.status:
            fact = "\n".join(f"  | {told}" for told in ended.tail)
            what, usual = _told(phase, line, ended, timeout, limits)
            usual = usual.format(key=f"app.{app.name}")
            raise failure(what, fact=fact, cure=usual if ended.timed_out else cure or usual)
    if limits:
        host.runtime.end_builds(app.name)
    host.journal.forget_commands(app.name)


def _told(
    phase: Phase, line: str, ended: Finished, timeout: float, limits: BuildLimits | None
) -> tuple[str, str]:
    """What went wrong, and what is to be done; ``{key}`` stands for the app's table."""
    if ended.timed_out:
        return (
            f"The {phase} had not ended after {timeout:g}s: `{line}` was ended.",
            f"If the {phase} needs longer, raise {{key}}.{phase}_timeout.",
        )
    what = f"The {phase} command `{line}` failed with exit status {ended.status}."
    if limits and limits.memory is not None and ended.status in _KILLED:
        return (
            what,
            "The kernel may have killed it for its memory: raise {key}.build_limits.memory.",
        )
    return what, f"Fix the {phase} and deploy again."
