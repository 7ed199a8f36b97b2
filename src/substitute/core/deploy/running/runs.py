"""Commands that run beside the instances of a slot: typed by somebody, or due by a cron.

Each is in the journal before it begins. While one is under way, the files of its slot are not changed; when its slot's
instances stop, it goes on. Whatever a killed one leaves in the journal, `settle` finds and tells once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from substitute.core.deploy.in_container import Command, end_container, in_container
from substitute.core.deploy.secrets import holding, keep
from substitute.core.model.environment import IN_A_RUN, origin, run_environment
from substitute.core.model.errors import LockedError, RuntimeFailedError, UsageError
from substitute.core.model.events import Notice, Warned
from substitute.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.programs import Process
    from substitute.core.model.records import RunRecord, SlotRecord
    from substitute.core.ports.commands import Finished
    from substitute.core.state.lock import Lock

_TICK = 0.1
_OF_SIGNALS = 128
"""A shell says of what was ended by signal n that its status is 128 + n."""


@dataclass(frozen=True)
class Place:
    """Where a command runs: the version that a slot holds, as its instances were started."""

    app: App
    """With the values of its secrets."""
    slot: SlotRecord
    caller: Mapping[str, str]

    @property
    def directory(self) -> Path:
        """The app's, in the slot."""
        return self.slot.place(self.app)

    def environment(self, run: RunRecord) -> dict[str, str]:
        """What `run` gets there."""
        return run_environment(self.app, self.slot, self.caller, run)


def live_slot(host: Host, app: App) -> SlotRecord:
    """Where a command of `app` runs. Raises UsageError where nothing is live."""
    record = host.journal.app(app.name) if app.name in host.journal.names() else None
    if record is None or record.live_slot is None:
        raise UsageError(
            f"No version of {app.name} is live, so there is nothing to run a command in.",
            cure="Type `substitute deploy` first.",
        )
    return record.live_slot


def place_of(host: Host, app: App, slot: SlotRecord) -> Place:
    """What a command needs of `slot`. Raises UsageError where that is no finished build, ConfigError, SecretError.

    Secrets are those that were gathered for the slot.
    """
    adopted = host.adopted(slot)
    if adopted or not (slot.intact and slot.commit):
        raise UsageError(
            f"Slot {slot.name} of {app.name} holds no finished build.",
            fact=f"What is live there was adopted: {adopted.called}." if adopted else "",
            cure="`substitute deploy` makes one."
            if adopted
            else "`substitute status` shows what each slot holds.",
        )
    app, caller = host.proven(app, slot), host.environment(app, slot)
    app = holding(host, app, slot)
    keep(
        host, slot.full_name, app.secrets.sources, app.secrets.values
    )  # nobody may be there to be asked again
    place = Place(app, slot, caller)
    if not place.directory.is_dir():
        raise UsageError(
            f"The directory of slot {slot.name} is not there.",
            fact=f"{place.directory}",
            cure="`substitute restart` builds the version anew.",
        )
    return place


def command_of(
    host: Host, place: Place, run: RunRecord, argv: Sequence[str], *, terminal: bool = False
) -> Command:
    """What is run as `run`: `argv`, or what runs that in a container of the version's image."""
    plain = Command(argv, place.directory, place.environment(run), place.app.user)
    return in_container(host, place.app, plain, name=run.name, terminal=terminal)


def note(host: Host, run: RunRecord, *, live: bool = True) -> RunRecord | None:
    """Note `run` before it begins.

    None where it was begun for that time already or, if it is to be so `live`, where its slot is not live any more.
    """
    run = replace(run, process=host.one_offs.myself())
    number = host.journal.begin_run(run, live=live)
    return replace(run, id=number) if number else None


def carry_out(host: Host, run: RunRecord, start: Callable[[Callable[[Process], None]], Finished]) -> int:
    """Have `start` run what was noted as `run`; note how it ended, and return its exit status, 128 + n for a signal.

    `start` is given what it has to call with the process before that begins.
    """

    def on_start(process: Process) -> None:
        if not host.journal.run_started(run.id, process):
            raise RuntimeFailedError(f"{run.name} was given up before it had begun.")

    try:
        ended = start(on_start)
    except BaseException:
        end_container(host, run.name)
        host.journal.finish_run(run.id, "failed", now=host.clock.now())
        raise
    if ended.status < 0 or ended.timed_out:
        end_container(host, run.name)
    status = ended.status if ended.status >= 0 else _OF_SIGNALS - ended.status
    outcome = "timed out" if ended.timed_out else "failed" if status else "succeeded"
    host.journal.finish_run(run.id, outcome, now=host.clock.now(), status=status)
    return status


def under_way(host: Host, app: str) -> list[RunRecord]:
    """What runs of `app` beside its instances, observed."""
    return [run for run in host.journal.runs(app) if _is_under_way(host, run)]


def _is_under_way(host: Host, run: RunRecord) -> bool:
    return run.process is not None and host.instances.alive(run.process) and host.is_ours(run.process)


def close_lost(host: Host, app: str) -> None:
    """Note, and tell once, which runs were killed together with whoever would have noted their end."""
    gone = [run.id for run in host.journal.runs(app) if not _is_under_way(host, run)]
    if gone:
        host.clock.sleep(_TICK)  # who has waited for one that has just ended may be about to note how
    for run in host.journal.runs(app) if gone else ():
        if run.id in gone and not _is_under_way(host, run):
            end_container(host, run.name)
            host.journal.finish_run(run.id, "lost", now=host.clock.now())
            what = f"cron {run.cron}" if run.cron else f"`{run.command}`"
            host.emit(
                Warned(f"{run.name} ({what}) ended, and nobody saw how: it was killed, or the machine was.")
            )


def without_runs(
    host: Host, slot: SlotRecord, found: Mapping[Process, str], users: Iterable[str | None]
) -> Mapping[Process, str]:
    """`found`, which was started for `slot` by `users`, without what belongs to runs that are under way."""
    for run in under_way(host, slot.app) if found else ():
        of_it = started_by(host, slot, run, users)
        found = {process: name for process, name in found.items() if process not in of_it}
    return found


def started_by(
    host: Host, slot: SlotRecord, run: RunRecord, users: Iterable[str | None]
) -> Mapping[Process, str]:
    """What was started by a run in `slot` and runs apart from a terminal, each with its name."""
    return host.instances.marked({**origin(slot), IN_A_RUN: str(run.id)}, users, host.root)


def await_none(host: Host, slot: SlotRecord, lock: Lock) -> None:
    """Return when no command runs in `slot`, whose files are about to change.

    It is waited for as long as the command that was typed says (``--wait``). Raises LockedError then.
    """
    deadline = host.clock.monotonic() + host.wait
    told = False
    while runs := [run for run in under_way(host, slot.app) if run.slot is slot.name]:
        if host.clock.monotonic() >= deadline:
            raise _held(slot, runs, host.wait)
        if not told:
            told = True
            lock.phase(f"waiting for {_names(runs)}")
            host.emit(
                Notice(f"Waiting, for at most {host.wait:g}s, until no command runs in slot {slot.name}:")
            )
            for run in runs:
                host.emit(Notice(f"  {in_words(run)}."))
        host.clock.sleep(_TICK)


def in_words(run: RunRecord) -> str:
    """What it is, its pid, who typed it, and since when."""
    pid = f"pid {run.process.pid}" if run.process else "no pid"
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started))
    by = f"cron {run.cron}" if run.cron else f"started by {run.user}"
    return f"{run.name}: `{' '.join(run.command.split())}` ({pid}), {by}, since {since}"


def _names(runs: Iterable[RunRecord]) -> str:
    return " and ".join(run.name for run in runs)


def _held(slot: SlotRecord, runs: list[RunRecord], waited: float) -> LockedError:
    ends = " and ".join(f"`substitute stop {run.name}`" for run in runs)
    wait = "" if waited else " With `--wait 10m` this command waits."
    after = f"After {waited:g}s a" if waited else "A"
    return LockedError(
        f"{after} command still runs in slot {slot.name}, which is needed.",
        fact="\n".join(f"  {in_words(run)}" for run in runs),
        serves="Its files are not changed meanwhile.",
        cure=f"Wait for it, or end it: {ends}.{wait}",
    )
