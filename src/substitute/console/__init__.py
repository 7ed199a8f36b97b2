"""What a user sees: events as lines for people, or as JSON for programs. Nothing else prints."""

from __future__ import annotations

import json as json_format
import sys
from typing import TYPE_CHECKING, Any, Self, TextIO

from substitute.console.jsonlines import json_line, plain
from substitute.console.stream import Stream, marks_for, paint_for
from substitute.console.text import harmless
from substitute.core.model.errors import InterruptedByUserError, SubstituteError
from substitute.core.model.events import Failed, Interrupted, Warned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from substitute.console.screen import Screen
    from substitute.core.model.events import Checked, Event
    from substitute.core.model.records import DeploymentRecord, DrillRecord, RunRecord
    from substitute.core.operate.releases import Latest


class Console:
    """Takes events, as the core's `Emit` asks: it never raises because something could not be printed.

    A reader that goes away (``substitute deploy | head``) ends the printing and nothing else.
    """

    def __init__(self, *, json: bool = False, out: TextIO | None = None, err: TextIO | None = None) -> None:
        """With `json` every event is a line of JSON. `out` and `err` default to the process's own."""
        self.json = json
        self.out = Stream(sys.stdout if out is None else out)
        self.err = Stream(sys.stderr if err is None else err)
        self._screen: Screen | None = None
        self._told_end = False
        self._has_result = False
        self._showing = False
        self._waiting: list[Event] = []

    @property
    def unwritten(self) -> str:
        """Why the result of the command could not be written whole, or empty. Events are no result."""
        self.out.flush()
        return self.out.failure if self._has_result else ""

    def __call__(self, event: Event) -> None:
        """Show `event` now; one that the handler of a signal tells while another one is shown comes after that."""
        if self._showing:
            self._waiting.append(event)
            return
        self._showing = True
        try:
            self._show(event)
            while self._waiting:
                self._show(self._waiting.pop(0))
        finally:
            self._showing = False

    def _show(self, event: Event) -> None:
        self._told_end = self._told_end or isinstance(event, Failed | Interrupted)
        try:
            if self.json:
                self.out.line(json_line(event))
            else:
                self.screen(event)
        except SubstituteError:
            raise  # the handler of a signal raised it; it happened to be in here
        except Exception as error:  # noqa: BLE001 - no trouble with a screen may fail a deployment
            self.err.line(
                f"substitute: {type(error).__name__} while showing a {event.event!r} event: {error}"
            )

    @property
    def screen(self) -> Screen:
        """The screen, made when it is first needed: only a terminal is worth the import of rich."""
        if self._screen is None:
            if self.out.is_terminal:
                from substitute.console.live import LiveScreen  # noqa: PLC0415

                self._screen = LiveScreen(self.out)
            else:
                from substitute.console.screen import Screen  # noqa: PLC0415

                self._screen = Screen(self.out)
        return self._screen

    def watch(self, footer: RenderableType) -> None:
        """Keep `footer`, drawn afresh several times a second, below everything until `close`.

        For a terminal; there is nothing to keep on other streams.
        """
        from substitute.console.live import WatchScreen  # noqa: PLC0415

        self.close()
        self._screen = WatchScreen(self.out, footer)

    def aside(self, event: Event) -> None:
        """Show a warning on standard error, for commands whose output is one document."""
        if isinstance(event, Warned):
            if self.json:
                self.err.line(json_line(event))
                return
            for line in f"warning: {event.message}".splitlines():
                self.err.line(paint_for(self.err)(harmless(line), "yellow"))

    def error(self, error: SubstituteError) -> None:
        """Say what failed, the fact seen, what serves now, and the next command.

        With `json` that is an ``error`` event, unless the deployment's own ``failed`` or ``interrupted``
        event has said it.
        """
        self.close()
        if self.json and not self.out.failure:
            said = self._told_end and error.exit_status in {SubstituteError.exit_status, 130}
            if not said:
                self.out.line(_error_line(error))
            return
        paint = paint_for(self.err)
        mark = "interrupted: " if isinstance(error, InterruptedByUserError) else "error: "
        first, *more = error.what.splitlines() or [""]
        self.err.line(paint(mark, "red") + paint(harmless(first), "bold"))
        fact = error.fact
        if self._screen and self.out.is_same(self.err):
            fact = self._screen.shown.without(fact)
        for part in (*more, fact, error.serves, error.cure):
            for line in part.splitlines():
                self.err.line(f"  {harmless(line)}".rstrip())

    def lines(self, lines: Iterable[str]) -> None:
        """Print `lines`, text of substitute's own, on standard output."""
        self._has_result = True
        for line in lines:
            self.out.line(line)

    def document(self, document: object) -> None:
        """Print one JSON document."""
        self._has_result = True
        self.out.line(json_format.dumps(plain(document), indent=2, default=str))

    def status(self, document: Mapping[str, Any]) -> None:
        """Print what ``status`` observed: a table, or the document itself."""
        from substitute.console.tables import status_lines  # noqa: PLC0415

        if self.json:
            self.document(document)
        else:
            self.lines(status_lines(document, paint_for(self.out)))

    def checked(self, checked: Checked) -> None:
        """Print what a check saw: a table, or a document."""
        from substitute.console.checks import check_document, check_lines  # noqa: PLC0415

        if self.json:
            self.document(check_document(checked))
        else:
            self.lines(check_lines(check_document(checked), paint_for(self.out), marks=marks_for(self.out)))

    def history(
        self, records: Sequence[DeploymentRecord], drills: Sequence[DrillRecord] = (), *, with_app: bool
    ) -> None:
        """Print deployments and drills: tables, with a column for the app where there are several, or a document."""
        from substitute.console.history import drill_lines, history_document, history_lines  # noqa: PLC0415

        if self.json:
            self.document(history_document(records, drills))
            return
        self.lines(history_lines(records, paint_for(self.out), with_app=with_app))
        self.lines(drill_lines(drills, paint_for(self.out), with_app=with_app))

    def deployment(self, record: DeploymentRecord, drills: Sequence[DrillRecord]) -> None:
        """Print all that is known of one deployment, and its drills."""
        from substitute.console.history import deployment_lines, drill_lines, history_document  # noqa: PLC0415

        if self.json:
            self.document(history_document([record], drills))
            return
        self.lines(deployment_lines(record, paint_for(self.out)))
        self.lines(drill_lines(drills, paint_for(self.out), with_app=False))

    def crons(self, document: Mapping[str, Any], *, with_app: bool) -> None:
        """Print what ``cron`` found: a table, or the document itself."""
        from substitute.console.crons import cron_lines  # noqa: PLC0415

        if self.json:
            self.document(document)
        else:
            self.lines(cron_lines(document, paint_for(self.out), with_app=with_app))

    def runs_of_crons(self, records: Sequence[RunRecord], *, with_app: bool) -> None:
        """Print the runs of crons: a table, or a document."""
        from substitute.console.crons import history_lines  # noqa: PLC0415
        from substitute.console.runs import runs_document  # noqa: PLC0415

        if self.json:
            self.document(runs_document(records))
        else:
            self.lines(history_lines(records, paint_for(self.out), with_app=with_app))

    def runs(self, records: Sequence[RunRecord], *, with_app: bool) -> None:
        """Print commands that ran beside the instances, or do: a table, or a document."""
        from substitute.console.runs import run_lines, runs_document  # noqa: PLC0415

        if self.json:
            self.document(runs_document(records))
        else:
            self.lines(run_lines(records, paint_for(self.out), with_app=with_app))

    def detached(self, run: RunRecord, log: Path) -> None:
        """Print the name of a command that goes on by itself; for people how to see it, beside that."""
        pid = run.process.pid if run.process else None
        if self.json:
            self.document({"run": run.name, "app": run.app, "slot": run.slot, "pid": pid, "log": str(log)})
            return
        self.lines([run.name])
        self.err.line(
            f"`substitute logs {run.name} -f` shows what it writes, `substitute stop {run.name}` ends it."
        )

    def release(self, latest: Latest) -> None:
        """Print what is known of the latest `release`: lines, or a document."""
        from substitute.console.history import release_document, release_lines  # noqa: PLC0415

        if self.json:
            self.document(release_document(latest))
        else:
            self.lines(release_lines(latest, paint_for(self.out)))

    def deployment_log_line(self, deployment: int, line: str) -> None:
        """Print a line of a deployment's log."""
        self._has_result = True
        self.out.line(
            json_format.dumps({"deployment": deployment, "line": line}) if self.json else harmless(line)
        )

    def log_line(self, slot: str, line: str, *, marked: bool) -> None:
        """Print a line of an instance's log; `marked` puts its slot before it."""
        self._has_result = True
        if self.json:
            self.out.line(json_format.dumps({"slot": slot, "line": line}))
        else:
            mark = paint_for(self.out)(f"{slot} | ", "dim") if marked else ""
            self.out.line(mark + harmless(line))

    def close(self) -> None:
        """Leave the terminal as it was found."""
        if self._screen is not None:
            self._screen.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _error_line(error: SubstituteError) -> str:
    return json_line(
        {
            "event": "error",
            "reason": error.reason,
            "exit": error.exit_status,
            "serves": error.serves,
            "cure": error.cure,
        }
    )
