"""``cron``: what a person sees of the crons of the live version, and does to them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from substitute.core.deploy.running.runs import (
    carry_out,
    command_of,
    in_words,
    live_slot,
    note,
    place_of,
    under_way,
)
from substitute.core.deploy.running.scheduler import crons_of, is_wanted, running_scheduler
from substitute.core.interrupts import Interrupts, ends_soon
from substitute.core.model.errors import LockedError, UsageError
from substitute.core.model.events import Notice, Output, RunBegan
from substitute.core.model.timetable import next_time
from substitute.core.operate.one_offs import confined
from substitute.core.operate.scheduling import Job, appending, earlier_of, ending, log_of, tell
from substitute.core.state import paused
from substitute.core.state.paused import Pause
from substitute.io.zones import UnknownZoneError, zone
from substitute.values import asdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.programs import Process
    from substitute.core.model.records import RunRecord
    from substitute.core.ports.commands import Finished


def jobs_of(host: Host, app: str) -> list[Job]:
    """The crons of the live version of `app`, whether or not it runs."""
    record = host.journal.app(app) if app in host.journal.names() else None
    version = record.live_slot.version if record and record.live_slot else None
    return [Job(record, name, cron) for name, cron in version.crons.items()] if record and version else []


def listed(host: Host, apps: Iterable[App]) -> dict[str, Any]:
    """The ``cron --json`` document; times are ISO 8601, UTC."""
    process = running_scheduler(host)
    jobs = [job for app in apps for job in jobs_of(host, app.name)]
    return {
        "scheduler": {"pid": process.pid if process else None, "wanted": is_wanted(host)},
        "crons": [_listed(host, job) for job in jobs],
    }


def _listed(host: Host, job: Job) -> dict[str, Any]:
    last = host.journal.last_run(job.app, job.name)
    pause = paused.pause_of(host.journal, job.app, job.name)
    running = [run.name for run in under_way(host, job.app) if run.cron == job.name]
    runs = job.name in crons_of(job.record) and not pause
    return {
        "app": job.app,
        "name": job.name,
        **asdict(job.cron),
        "timezone": job.cron.timezone or None,
        "next": _iso(_next(host, job)) if runs else None,
        "running": running,
        "last": last
        and {
            "run": last.name,
            "due": _iso(last.due),
            "started": _iso(last.started),
            "finished": _iso(last.finished),
            "outcome": last.outcome,
            "status": last.status,
        },
        "paused": pause and {"by": pause.by, "since": _iso(pause.since), "all": pause.of_all},
    }


def _next(host: Host, job: Job) -> float | None:
    try:
        return next_time(job.cron, zone(job.cron.timezone), after=host.clock.now())
    except UnknownZoneError:
        return None


def _iso(epoch: float | None) -> str | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds")


def find(host: Host, app: App, name: str) -> Job:
    """The cron of that name. Raises UsageError."""
    jobs = jobs_of(host, app.name)
    for job in jobs:
        if job.name == name:
            return job
    known = ", ".join(job.name for job in jobs)
    fact = f"The live version has {known}." if known else "The live version has none."
    if name in app.crons:
        fact += f" {name} is in substitute.toml, and comes with the next deployment."
    raise UsageError(f"{app.name} has no cron {name!r}.", fact=fact, cure="`substitute cron` lists them.")


def run_now(host: Host, app: App, name: str) -> int:
    """Run a cron at once; what it writes is shown, and appended to its log. Returns its exit status.

    Raises UsageError, LockedError where a run of it goes on and may not be overlapped, InterruptedByUserError.
    """
    run = None
    while run is None:  # once more where another version became live meanwhile
        place = place_of(host, app, live_slot(host, app))
        job = find(host, app, name)
        wanted = job.run(host.clock.now(), None, user=host.user)
        _require_alone(host, job, wanted)
        run = note(host, wanted)
    try:
        _require_alone(host, job, run)
    except LockedError:  # the scheduler was faster by a moment
        host.journal.finish_run(run.id, "skipped", now=host.clock.now())
        raise
    host.emit(RunBegan(run.name, app.name, run.slot))
    with (
        appending(log_of(host, app.name, name)) as write,
        Interrupts(ends_soon(host.emit)) as interrupts,
        interrupts.allowed(),
    ):

        def show(line: str) -> None:
            write(f"{line}\n")
            host.emit(Output(f"cron-{name}", line))

        def start(on_start: Callable[[Process], None]) -> Finished:
            command = command_of(host, place, run, ("/bin/sh", "-c", run.command))
            return host.commands.run(
                command.argv,
                directory=command.directory,
                environment=command.environment,
                on_line=show,
                on_start=confined(host, place, run, on_start),
                timeout=job.cron.timeout,
                user=command.user,
            )

        status = carry_out(host, run, start)
    ended = host.journal.run(run.id)
    if ended and ended.outcome != "succeeded":
        tell(host, job, ending(job.cron, ended.outcome or "", status))
    else:
        host.emit(Notice(f"cron {name} of {app.name} succeeded."))
    return status


def _require_alone(host: Host, job: Job, run: RunRecord) -> None:
    if not job.cron.overlap and (earlier := earlier_of(host, run)):
        raise LockedError(
            f"cron {job.name} of {job.app} runs already.",
            fact=f"{in_words(earlier)}.",
            cure=f"Wait for it, or end it: `substitute stop {earlier.name}`. `overlap = true` allows several at once.",
        )


def pause(host: Host, apps: Iterable[App], name: str | None) -> None:
    """Start the cron `name`, or all of `apps`, no more until `resume`. What runs goes on. Raises UsageError."""
    for app in apps:
        cron = find(host, app, name).name if name else ""
        called = _called(app.name, cron)
        if known := next((one for one in paused.noted(host.journal, app.name, cron) if one.paused), None):
            host.emit(Notice(f"{called} already: {known}."))
            continue
        paused.note(host.journal, app.name, cron, Pause(host.user, host.clock.now(), of_all=not cron))
        host.emit(Notice(f"{called}: paused. `substitute cron resume{_arguments(app.name, cron)}` resumes."))
        for run in under_way(host, app.name):
            if run.cron and run.cron == (cron or run.cron):
                host.emit(Notice(f"{in_words(run)}, goes on."))


def resume(host: Host, apps: Iterable[App], name: str | None) -> None:
    """Start the cron `name`, or all of `apps`, again. What was due meanwhile is not run. Raises UsageError."""
    for app in apps:
        cron = find(host, app, name).name if name else ""
        each = [cron] if cron else ["", *(job.name for job in jobs_of(host, app.name))]
        pauses = {one: paused.own(host.journal, app.name, one) for one in each}
        found = [one for one, known in pauses.items() if known and known.paused]
        for one in found:
            now = host.clock.now()
            paused.note(host.journal, app.name, one, Pause(host.user, now, paused=False, of_all=not one))
            host.emit(Notice(f"{_called(app.name, one)}: resumed."))
        if not found:
            host.emit(Notice(f"{_called(app.name, cron)}: not paused."))
        if cron and (left := paused.own(host.journal, app.name, "")) and left.paused:
            raise UsageError(
                f"All crons of {app.name} are {left}.",
                cure=f"`substitute cron resume{_arguments(app.name, '')}` resumes them all.",
            )


def _called(app: str, cron: str) -> str:
    return f"cron {cron} of {app}" if cron else f"all crons of {app}"


def _arguments(app: str, cron: str) -> str:
    return f" {cron} -a {app}" if cron else f" -a {app}"
