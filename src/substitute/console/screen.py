"""Events as plain lines: for pipes, files, and terminals that can do no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.console.text import count, harmless, seconds, short
from substitute.core.excerpt import Shown
from substitute.core.model.events import (
    Announced,
    Checked,
    Compared,
    Event,
    Failed,
    Halted,
    Held,
    Interrupted,
    Judged,
    Locked,
    Notice,
    Output,
    PhaseFinished,
    PhaseStarted,
    Replayed,
    Resolved,
    RunBegan,
    Stepped,
    Succeeded,
    Unchanged,
    Warned,
)

if TYPE_CHECKING:
    from substitute.console.stream import Stream
    from substitute.core.model.events import Drained

_DOING = {
    "deploy": "Deploying",
    "rollback": "Rolling back to",
    "restart": "Restarting",
    "promote": "Promoting",
    "check": "Checking",
}
_PHASE_WIDTH = 8


class Screen:
    """One line a phase when it has ended, and each line of output as it comes."""

    arrow = "->"

    def __init__(self, out: Stream) -> None:
        self.out = out
        self.shown = Shown()

    def __call__(self, event: Event) -> None:  # noqa: C901  # a line for each kind of event
        """Show `event`."""
        match event:
            case PhaseStarted():
                self.begin(event.phase)
            case PhaseFinished():
                self.end(event.phase, event.seconds)
            case Output():
                self.shown.add(event.line)
                self.say(f"  {event.phase} | {harmless(event.line)}", "dim")
            case Warned():
                self.paragraph(f"warning: {event.message}", "yellow")
            case Notice() | Judged() | Replayed() | Unchanged() | Locked() | Announced() | Halted():
                self.paragraph(event.message, "")
            case Resolved():
                self.say(_resolved(event), "bold")
            case Held() | Stepped() | Compared():
                from substitute.console.progress import lines  # noqa: PLC0415  # most deployments need none

                for line in lines(event):
                    self.say(line, "")
            case Succeeded():
                self.succeeded(event)
            case Checked() | RunBegan():
                pass  # what follows says it
            case Failed() | Interrupted():
                self.give_up()  # the error that follows says why
            case _:
                self.say(harmless(str(event)), "")

    def say(self, text: str, style: str) -> None:
        """Print one line; `style` is for screens that have one."""
        del style
        self.out.line(text)

    def paragraph(self, text: str, style: str) -> None:
        """Print a text that may have several lines."""
        for line in text.splitlines():
            self.say(harmless(line), style)

    def begin(self, phase: str) -> None:
        """A phase begins."""

    def end(self, phase: str, took: float) -> None:
        """A phase ended well."""
        self.say(f"{phase:<{_PHASE_WIDTH}} {seconds(took)}", "")

    def give_up(self) -> None:
        """The phase that was under way will not end well."""

    def succeeded(self, event: Succeeded) -> None:
        """Sum the deployment up."""
        total = event.seconds.get("total")
        took = f" in {seconds(total)}" if total is not None else ""
        before = f"{short(event.previous)} {self.arrow} " if event.previous else ""
        self.say(f"{event.app} is live in slot {event.live}: {before}{short(event.commit)}{took}", "green")
        if event.previous:
            self.say(
                f"slot {event.live.other}: {_drained(event.drained)}", "yellow" if event.drained.cut else ""
            )

    def close(self) -> None:
        """Leave the terminal as it was found."""


def _drained(drained: Drained) -> str:
    if drained.stands_by:
        return "stands by, and finishes the requests that it has"
    if drained.handed_over:
        return "a background process waits for its requests and stops it; `substitute status` shows when it is gone"
    if drained.connections:
        left = drained.at_sigterm or "none"
        return (
            f"{count(drained.finished, 'open connection')} ended, {left} still open when it was told to stop"
        )
    late = f" ({drained.at_sigterm} still under way when it was told to stop)" if drained.at_sigterm else ""
    waves = f", {count(drained.streams, 'stream')} ended in waves" if drained.streams else ""
    return (
        f"{count(drained.finished, 'request')} in flight finished, {drained.cut or 'none'} cut{late}{waves}"
    )


def _resolved(event: Resolved) -> str:
    doing = _DOING.get(event.operation, event.operation)
    subject = f": {harmless(event.subject)}" if event.subject else ""
    return (
        f"{doing} {short(event.commit)} ({harmless(event.how)}) in slot {event.slot} of {event.app}{subject}"
    )
