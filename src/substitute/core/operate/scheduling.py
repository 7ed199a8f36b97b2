"""What the scheduler does: what is due is claimed in the journal, and run in the live version.

Each time that a cron is due is in the journal once, whatever became of it: so nothing runs twice, by two schedulers,
across a switch, or where the clock is set back. A time that nobody was there for is noted as missed, and not run late.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from substitute.core.deploy.running.runs import (
    carry_out,
    close_lost,
    command_of,
    in_words,
    note,
    place_of,
    under_way,
)
from substitute.core.deploy.running.scheduler import crons_of
from substitute.core.model.errors import SubstituteError
from substitute.core.model.events import Warned
from substitute.core.model.records import RunRecord
from substitute.core.model.timetable import due_times
from substitute.core.operate.one_offs import confined
from substitute.core.state import paused
from substitute.io.files import private_directory
from substitute.io.rotation import rotate_where_large
from substitute.io.zones import UnknownZoneError, zone
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.crons import Cron
    from substitute.core.model.programs import Process
    from substitute.core.model.records import AppRecord
    from substitute.core.ports.commands import Finished

LATE = 60.0
"""Seconds after which a time is missed: each is run in its own minute, or not at all."""
_TOLD = 86_400.0
"""Seconds back from now for which missed times are told."""
_KEPT = 7 * _TOLD


@dataclass(frozen=True)
class Job:
    """A cron of a live version."""

    record: AppRecord
    name: str
    cron: Cron

    @property
    def app(self) -> str:
        """Whose it is."""
        return self.record.name

    def run(self, now: float, due: float | None, *, outcome: str | None = None, user: str = "") -> RunRecord:
        """What the journal notes of one run, or of why there was none."""
        assert self.record.live  # noqa: S101  # crons are of a live version alone
        return RunRecord(
            *(self.app, self.record.live, self.cron.command, now),
            cron=self.name,
            user=user,
            due=due,
            outcome=outcome,
            finished=now if outcome else None,
        )


def claim_due(host: Host) -> list[RunRecord]:
    """Claim all that is due now, and return it: whoever calls carries it out. Times that were missed are noted."""
    claimed = []
    for app in host.journal.names():
        close_lost(host, app)
        record = None
        while (
            record is None or record.live is not host.journal.app(app).live
        ):  # another version became live meanwhile
            record = host.journal.app(app)
            claimed += [run for job in _jobs(record) for run in _claim(host, job)]
    host.journal.forget_runs_of_crons(host.clock.now() - _KEPT)
    return claimed


def _jobs(record: AppRecord) -> list[Job]:
    return [Job(record, name, cron) for name, cron in crons_of(record).items()]


def _claim(host: Host, job: Job) -> Iterator[RunRecord]:
    now = host.clock.now()
    for due in _due(host, job, now):
        run = note(host, job.run(now, due))
        if run and not _is_skipped(host, job, run):
            yield run


def _due(host: Host, job: Job, now: float) -> list[float]:
    """The times for which it is to be run now; those that were missed are noted and told."""
    if paused.pause_of(host.journal, job.app, job.name):
        return []
    try:
        times = [*due_times(job.cron, zone(job.cron.timezone), after=_since(host, job, now), until=now)]
    except UnknownZoneError:
        tell(host, job, f"is not run: this machine knows no time zone {job.cron.timezone}.")
        return []
    missed = [due for due in times if due <= now - LATE]
    for due in missed:
        host.journal.begin_run(job.run(now, due, outcome="missed"))
    if missed:
        count = "a run" if len(missed) == 1 else f"{len(missed)} runs, the first"
        tell(host, job, f"missed {count} at {moment(missed[0])}: nobody was there to start it.")
    return times[len(missed) :]


def _since(host: Host, job: Job, now: float) -> float:
    """The moment up to which all of its times are accounted for."""
    journal, live = host.journal, job.record.live_slot
    assert live  # noqa: S101  # crons are of a live version alone
    before = job.record.slots[live.name.other]
    was = before.version.crons.get(job.name) if before.version and before.committed else None
    since = journal.live_since(job.app, before.name if job.cron.is_due_as(was) else live.name, until=now)
    known = journal.last_due(job.app, job.name, until=now) or 0.0
    resumed = paused.resumed(journal, job.app, job.name, until=now)
    return max(known, now - LATE if since is None else since, resumed, now - _TOLD)


def _is_skipped(host: Host, job: Job, run: RunRecord) -> bool:
    """Whether an earlier run goes on, and this one may not begin beside it, which is noted and told."""
    if job.cron.overlap or not (earlier := earlier_of(host, run)):
        return False
    host.journal.finish_run(run.id, "skipped", now=host.clock.now())
    tell(host, job, f"skipped at {moment(run.due or run.started)}: {in_words(earlier)}, still runs.")
    return True


def earlier_of(host: Host, run: RunRecord) -> RunRecord | None:
    """A run of the same cron that began before and goes on."""
    others = (one for one in under_way(host, run.app) if one.cron == run.cron)
    return next((one for one in others if not run.id or one.id < run.id), None)


def carry_on(host: Host, app: App, run: RunRecord) -> None:
    """Run what was claimed to its end, which is noted; what is wrong is told in the log of the cron."""
    live = host.journal.app(app.name)
    slot = live.slots[run.slot]
    cron = slot.version.crons[run.cron] if slot.version else None
    if cron is None or not host.journal.run_started(run.id, host.one_offs.myself()):
        return
    job = Job(live, run.cron, cron)
    log = log_of(host, app.name, run.cron)
    _make_ready(log)

    def start(on_start: Callable[[Process], None]) -> Finished:
        place = place_of(host, app, slot)
        command = command_of(host, place, run, ("/bin/sh", "-c", run.command))
        return host.one_offs.logged(
            command.argv,
            log,
            directory=command.directory,
            environment=command.environment,
            on_start=confined(host, place, run, on_start),
            user=command.user,
            timeout=job.cron.timeout,
        )

    try:
        status = carry_out(host, run, start)
    except (SubstituteError, OSError) as error:
        tell(host, job, f"could not be run. {error}")
        return
    ended = host.journal.run(run.id)
    if ended and ended.outcome != "succeeded":
        tell(host, job, ending(job.cron, ended.outcome or "", status))


def ending(cron: Cron, outcome: str, status: int) -> str:
    """How a run of `cron` ended that did not succeed, in words."""
    if outcome == "timed out":
        return f"was ended: it took longer than its timeout of {cron.timeout:g}s."
    return f"{outcome} with exit status {status}."


def tell(host: Host, job: Job, what: str) -> None:
    """Tell what has happened to a cron, in its log too: that is where somebody looks for it."""
    text = f"cron {job.name} of {job.app} {what}"
    host.emit(Warned(text))
    with appending(log_of(host, job.app, job.name)) as write:
        write(f"substitute: {moment(host.clock.now())} {text}\n")


def log_of(host: Host, app: str, cron: str) -> Path:
    """Where the runs of a cron write."""
    return host.root / "deploy" / app / "log" / f"cron-{cron}.log"


def moment(when: float) -> str:
    """A time for people, on the clock of this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _make_ready(log: Path) -> None:
    private_directory(log.parent)
    rotate_where_large(log)


@contextmanager
def appending(log: Path) -> Iterator[Callable[[str], object]]:
    """Give what appends text to `log`, which is rotated before where it is large."""
    _make_ready(log)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace", buffering=1) as file:
        yield file.write
