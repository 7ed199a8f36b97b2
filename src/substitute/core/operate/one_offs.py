"""``run``: a command of somebody's beside the instances of a slot, at the terminal or apart from it."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import nullcontext, suppress
from shutil import which
from typing import TYPE_CHECKING

from substitute.core.deploy.in_container import end_container
from substitute.core.deploy.running.instances import end_all
from substitute.core.deploy.running.runs import (
    Place,
    carry_out,
    close_lost,
    command_of,
    in_words,
    live_slot,
    note,
    place_of,
    started_by,
    under_way,
)
from substitute.core.deploy.working import working
from substitute.core.interrupts import Interrupts, ends_soon
from substitute.core.model.errors import RuntimeFailedError, UsageError
from substitute.core.model.events import Notice, Output, RunBegan, Warned
from substitute.core.model.records import RunRecord
from substitute.core.ports.one_offs import Input
from substitute.core.state.deployment_log import remove_old

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.programs import Process
    from substitute.core.model.slots import SlotName
    from substitute.core.ports.commands import Finished

_PATIENCE, _TICK = 60.0, 0.02
"""Seconds that a detached command has until it is started; one of Python's own has to start it."""
_UNTIL_NOTED = 5.0
"""Seconds that whoever waits for a command has to note its end."""
_LOGS = 50


def run(host: Host, app: App, argv: Sequence[str], *, slot: SlotName | None = None) -> int:
    """Run `argv` in the live version of `app`, or in `slot`, with the terminal or the pipes of this process.

    Its exit status, 128 + n for a signal. Raises UsageError where nothing is live, the slot holds no finished build, or
    what is to be read cannot be given to it; LockedError where a deployment is under way that may be about to change
    the slot.
    """
    place, record = _begin(host, app, argv, slot, reads=True)

    def start(on_start: Callable[[Process], None]) -> Finished:
        command = command_of(host, place, record, argv, terminal=host.one_offs.is_at_terminal())
        return host.one_offs.attached(
            command.argv,
            directory=command.directory,
            environment=command.environment,
            on_start=confined(host, place, record, on_start),
            user=command.user,
        )

    return carry_out(host, record, start)


def run_in_lines(host: Host, app: App, argv: Sequence[str], *, slot: SlotName | None = None) -> int:
    """The same apart from the terminal, for somebody elsewhere: each line that it writes is told as `Output`.

    It has no standard input. Raises as `run` does, and InterruptedByUserError: then it was ended.
    """
    place, record = _begin(host, app, argv, slot)
    host.emit(RunBegan(record.name, app.name, place.slot.name))

    def start(on_start: Callable[[Process], None]) -> Finished:
        command = command_of(host, place, record, argv)
        return host.commands.run(
            command.argv,
            directory=command.directory,
            environment=command.environment,
            on_line=lambda line: host.emit(Output(record.name, line)),
            on_start=confined(host, place, record, on_start),
            user=command.user,
        )

    with Interrupts(ends_soon(host.emit)) as interrupts, interrupts.allowed():
        return carry_out(host, record, start)


def run_detached(
    host: Host,
    app: App,
    argv: Sequence[str],
    keep: Callable[[RunRecord, float, Path], None],
    *,
    slot: SlotName | None = None,
) -> RunRecord:
    """Have `argv` run apart from this process and its terminal; return when it has begun.

    `keep` has a process do `carry_on` that outlives this one: it is given the run, the seconds that it has for its end
    when the machine goes down, and where to write what goes wrong. Raises as `run` does, and RuntimeFailedError.
    """
    place, record = _begin(host, app, argv, slot, detached=True)
    log = log_of(app, record)
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_old(log.parent, "run", _LOGS - 1, spared={one.id for one in under_way(host, app.name)})
    try:
        keep(record, place.app.stop_timeout, log)
        return _started(host, record, log)
    except BaseException:
        host.journal.finish_run(record.id, "failed", now=host.clock.now())
        raise


def _started(host: Host, record: RunRecord, log: Path) -> RunRecord:
    deadline = host.clock.monotonic() + _PATIENCE
    while host.clock.monotonic() < deadline:
        known = host.journal.run(record.id)
        if known and (known.outcome or known.process != record.process):
            return known
        host.clock.sleep(_TICK)
    raise RuntimeFailedError(
        f"{record.name} has not begun after {_PATIENCE:g}s, and was given up.", cure=f"See {log}."
    )


def carry_on(host: Host, app: App, number: int) -> int:
    """Run what `run_detached` has noted, with its output in its log, and note how it ended. Raises as `run` does."""
    record = host.journal.run(number)
    if record is None or record.outcome:  # given up meanwhile
        return 1
    slot = host.journal.app(app.name).slots[record.slot]

    def start(on_start: Callable[[Process], None]) -> Finished:
        place = place_of(host, app, slot)
        command = command_of(host, place, record, shlex.split(record.command))
        return host.one_offs.logged(
            command.argv,
            log_of(app, record),
            directory=command.directory,
            environment=command.environment,
            on_start=confined(host, place, record, on_start),
            user=command.user,
        )

    return carry_out(host, record, start)


def log_of(app: App, run: RunRecord) -> Path:
    """Where a detached command writes."""
    return app.log_directory / f"{run.name}.log"


def _begin(
    host: Host,
    app: App,
    argv: Sequence[str],
    name: SlotName | None,
    *,
    detached: bool = False,
    reads: bool = False,
) -> tuple[Place, RunRecord]:
    """Where it runs, and how it is noted; `reads`: it is to have the standard input of this process."""
    while True:
        live = live_slot(host, app)
        elsewhere = name is not None and name is not live.name
        # No deployment may be about to change the files of a slot that is not live.
        with working(host, app, "run") if elsewhere else nullcontext():
            place = place_of(host, app, host.journal.app(app.name).slots[name or live.name])
            wanted = RunRecord(
                *(app.name, place.slot.name, shlex.join(argv), host.clock.now()),
                user=host.user,
                detached=detached,
            )
            if reads and place.slot.clustered:
                _require_no_input(host, place)
            if detached and not place.app.image.id:  # nobody would look into its log
                _must_be_there(argv[0], place, place.environment(wanted))
            if record := note(host, wanted, live=not elsewhere):
                return place, record


def _require_no_input(host: Host, place: Place) -> None:
    """Tell that a command in a cluster has no input. Raises UsageError where it would miss some."""
    given = host.one_offs.input()
    if given is Input.WAITS:
        raise UsageError(
            "Nothing was run: in a cluster a command has no standard input, and here is something in it.",
            cure=f"`kubectl exec -i deployment/{place.app.name}-{place.slot.name} -- CMD` gives it to a command in a "
            "pod that runs. With `</dev/null` CMD runs without.",
        )
    if given is Input.MAY_COME:
        host.emit(Notice("In a cluster a command has no standard input: what you type does not reach it."))


def _must_be_there(program: str, place: Place, environment: Mapping[str, str]) -> None:
    """Raise UsageError where no `program` is found, as it is looked for when it is run."""
    searched = environment.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join(str(place.directory / each) for each in searched)
    if not which(str(place.directory / program) if "/" in program else program, path=path):
        raise UsageError(
            f"There is no program {program} for slot {place.slot.name}.",
            fact="" if "/" in program else f"It was looked for in {', '.join(searched)}.",
            cure="A line for a shell is typed as `-- sh -c '...'`.",
        )


def confined(
    host: Host, place: Place, run: RunRecord, on_start: Callable[[Process], None]
) -> Callable[[Process], None]:
    """Note the process, and hold it to the limits of the app as far as its runtime can.

    What runs in a container is held to them there: the process is the engine's client.
    """
    if host.container(place.app):
        return on_start

    def started(process: Process) -> None:
        on_start(process)
        try:
            host.runtime.confine(run.name, process, place.app.limits)
        except RuntimeFailedError as error:
            host.emit(Warned(f"{run.name} runs without the limits of {run.app}. {error.reason}"))

    return started


def find(host: Host, name: str) -> RunRecord | None:
    """The run that is called `name`, as ``run-7``; None where it is no name of a run. Raises UsageError for no run."""
    number = re.fullmatch(r"run-(\d{1,15})", name)
    if number is None:
        return None
    found = host.journal.run(int(number[1]))
    if found is None:
        raise UsageError(f"There is no {name}.", cure="`substitute history --runs` lists them.")
    return found


def stop(host: Host, run: RunRecord) -> None:
    """End a command and all that it has started: SIGTERM, and SIGKILL after the stop timeout of its slot."""
    if run not in under_way(host, run.app):
        close_lost(host, run.app)
        host.emit(Notice(f"{run.name} does not run."))
        return
    assert run.process is not None  # noqa: S101  # it is under way
    slot = host.journal.app(run.app).slots[run.slot]
    killed = host.one_offs.end(run.process, timeout=slot.stop_timeout)
    if slot.version and slot.version.image_id:
        end_container(host, run.name)
    left = started_by(host, slot, run, {slot.version.user if slot.version else None})
    end_all(host, run.name, left, timeout=0.0 if killed else slot.stop_timeout)
    deadline = host.clock.monotonic() + _UNTIL_NOTED
    while host.clock.monotonic() < deadline and not _outcome(host, run):
        host.clock.sleep(_TICK)
    if not _outcome(host, run):  # who has waited for it was killed before
        host.journal.finish_run(run.id, "lost", now=host.clock.now())
    how = f" It had not ended {slot.stop_timeout:g}s after SIGTERM, and was killed." if killed else ""
    host.emit(Notice(f"{run.name} ended.{how}"))


def _outcome(host: Host, run: RunRecord) -> str | None:
    known = host.journal.run(run.id)
    return known.outcome if known else "forgotten"


def tell_what_goes_on(host: Host, app: str) -> None:
    """Tell of the commands that run on, though all instances are stopped. Never raises."""
    with suppress(Exception):
        for run in under_way(host, app):
            host.emit(Notice(f"{in_words(run)}, goes on. `substitute stop {run.name}` ends it."))
