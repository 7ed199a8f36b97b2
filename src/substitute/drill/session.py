"""One `substitute drill`, from what was typed to what is shown and kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.console.stream import paint_for
from substitute.core.deploy import deployment
from substitute.core.model.errors import SubstituteError, UsageError
from substitute.core.model.events import Notice
from substitute.core.model.records import DrillRecord
from substitute.drill.client.preflight import check
from substitute.drill.report import summary
from substitute.drill.result.recording import Recording
from substitute.drill.result.result import Result
from substitute.drill.result.timeline import Timeline
from substitute.drill.run import run
from substitute.io.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.console import Console
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.events import Event
    from substitute.drill.load import Load
    from substitute.drill.run import Operation, Timing

_KEPT = 20
"""Failures that the journal keeps one by one; it keeps the number of all of them."""


@dataclass
class Session:
    """A drill on a console; `emit` is what the operation's events are to be given to."""

    console: Console

    def __post_init__(self) -> None:
        self.timeline = Timeline()
        self.recording = Recording()

    def emit(self, event: Event) -> None:
        """Take an event of the operation; with ``--json`` only the document at the end is printed."""
        self.timeline(event)
        if self.console.json:
            self.console.aside(event)
        else:
            self.console(event)

    def hold(
        self,
        host: Host,
        app: App,
        load: Load,
        timing: Timing,
        *,
        typed: tuple[str, ...],
        report: Path | None,
        skip_release: bool = False,
    ) -> int:
        """Carry the drill out, show it, keep it; the exit status is returned.

        `typed` is the operation and its commit, or empty. Raises UsageError before anything was done.
        """
        if report and not report.resolve().parent.is_dir():
            raise UsageError(f"{report} cannot be written.", fact=f"There is no {report.resolve().parent}.")
        check(load)
        self._announce(load, typed)
        started = time.time()
        course = run(
            load,
            _operation(host, app, typed, skip_release=skip_release),
            timing,
            timeline=self.timeline,
            recording=self.recording,
            directory=host.root / "deploy" / "run",
        )
        named = " ".join(typed) or None
        result = Result(app.name, named, started, load, course, self.timeline, self.recording)
        _keep(host, result)
        self._show(result)
        if report:
            self._report(result, report)
        return result.exit_status

    def _announce(self, load: Load, typed: tuple[str, ...]) -> None:
        if self.console.json:
            return
        what = f"for `{' '.join(typed)}`" if typed else "and no operation: this is a baseline"
        about = f"{load.rate:g} requests/s on {load.connections} connections"
        self.console(Notice(f"Load on {load.url}{load.path}: {about}, {what}."))
        if self.console.out.is_terminal:
            from substitute.drill.report.chart import Chart  # noqa: PLC0415  # rich, only where it is seen

            self.console.watch(Chart(self.recording, self.timeline, load.rate))

    def _show(self, result: Result) -> None:
        document = result.document()
        self.console.close()
        if self.console.json:
            self.console.document(document)
            return
        if result.course.error:
            self.console.error(result.course.error)
        if result.course.lost:
            self.console.error(
                SubstituteError("The load generator ended before its time.", fact=result.course.lost)
            )
        self.console.lines(summary.lines(document, paint_for(self.console.out)))

    def _report(self, result: Result, report: Path) -> None:
        from substitute.drill.report.page import page  # noqa: PLC0415

        write_atomically(report, page(result), mode=0o644)
        if not self.console.json:
            self.console.lines([f"report: {report}"])


def _operation(host: Host, app: App, typed: tuple[str, ...], *, skip_release: bool) -> Operation | None:
    match typed:
        case ("deploy", *commits):
            commit = commits[0] if commits else None
            return lambda: deployment.deploy(host, app, commit, force=True, skip_release=skip_release)
        case ("rollback",):
            return lambda: deployment.rollback(host, app)
        case ("restart",):
            return lambda: deployment.restart(host, app)
        case _:
            return None


def _keep(host: Host, result: Result) -> None:
    first = [result.failure(one) for one in result.recording.failures[:_KEPT]]
    host.journal.add_drill(
        DrillRecord(
            app=result.app,
            deployment=result.timeline.deployment,
            operation=result.operation,
            started=result.started,
            seconds=result.seconds,
            requests=result.recording.requests,
            failed=result.failed,
            exit=result.exit_status,
            summary={**result.summary(), "failures": first},
        )
    )
