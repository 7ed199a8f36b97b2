"""What happens on many hosts, while it happens: JSON lines with the host, or lines and a live table for people."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from substitute.console.jsonlines import json_line
from substitute.console.tables import moment, previewed
from substitute.console.text import harmless, seconds, short
from substitute.hosts.outcomes import State
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rich.table import Table

    from substitute.console import Console

    Event = Mapping[str, Any]

_DOING = {
    "deploy": "Deploying",
    "rollback": "Rolling back to",
    "restart": "Restarting",
    "promote": "Promoting",
    "check": "Checking",
    "drill": "Drilling",
}
_GOOD = {str(State.SUCCEEDED): "green", str(State.UNCHANGED): "green", str(State.HELD): "cyan"}


@dataclass
class Row:
    """Where a host is."""

    now: str = "waits"
    since: float = 0.0
    done: bool = False
    style: str = "dim"

    def to(self, now: str, style: str = "cyan", *, done: bool = False) -> None:
        """It is there from now on."""
        self.now, self.style, self.done, self.since = now, style, done, time.monotonic()


class Progress:
    """Takes events, each with its `host`, as dictionaries."""

    def __init__(
        self,
        console: Console,
        configuration: str | None = None,
        *,
        output: bool = False,
        results: Callable[[Any], Iterable[str]] = lambda _: (),
    ) -> None:
        """`configuration` is the SHA-256 of the substitute.toml here, for hosts that have another one.

        With `output`, what commands write there is shown. `results` makes lines of the document that a host printed.
        """
        self._console, self._configuration = console, configuration
        self._output, self._results = output, results
        self._rows: dict[str, Row] = {}
        self._told: set[str] = set()
        self._shows_ends = True
        self._width = 0

    def __call__(self, event: Event) -> None:
        """Show it."""
        for warning in self._warnings(event):
            self._show(warning)
        if event.get("event") == "hello":
            self._row(event).to("has begun")
        else:
            self._show(event)

    def _warnings(self, event: Event) -> list[Event]:
        """A host whose substitute.toml is another one deploys something else than what is written here."""
        there = event.get("configuration")
        if event.get("event") != "hello" or self._configuration is None or there == self._configuration:
            return []
        name = event["host"]
        cure = f"`substitute hosts setup --on {name}` brings this one there."
        message = f"The substitute.toml on {name} is not the one here. {cure}"
        return [{"event": "warning", "host": name, "message": message}]

    def _show(self, event: Event) -> None:
        if self._console.json:
            if event.get("event") == "host_ended" and event["state"] in _GOOD and not self._shows_ends:
                return
            self._console.out.line(json_line(event))
            return
        if "line" in event and "event" not in event:
            slot = f"{event['slot']} | " if "slot" in event else ""
            self._of(event, f"{slot}{event['line']}")
            return
        act: Callable[[Event], None] | None = getattr(self, f"_on_{event.get('event')}", None)
        if act:
            act(event)

    def expect(self, names: list[str], *, ends: bool = True) -> None:
        """These hosts will be heard of; with `ends`, also that it has ended well on one."""
        self._shows_ends = ends
        self._width = max(map(len, names), default=0)
        self._rows = {name: Row() for name in names}

    def close(self) -> None:
        """Leave the terminal as it was found."""
        self._console.close()

    def _say(self, text: str, style: str = "") -> None:
        for line in text.splitlines():
            self._console.screen.say(harmless(line), style)

    def _of(self, event: Event, text: str, style: str = "") -> None:
        name = str(event.get("host") or "")
        first, *more = text.splitlines() or [""]
        mark = f"{name.ljust(self._width)} | " if name else ""
        self._say(f"{mark}{first}", style)
        for line in more:
            self._say(f"{' ' * len(mark)}{line}", style)

    def _row(self, event: Event) -> Row:
        return self._rows.setdefault(str(event["host"]), Row())

    def _on_rollout(self, event: Event) -> None:
        names = [name for batch in event["batches"] for name in batch]
        self.expect(names)
        what = f"{short(event['commit'])} of {event['app']}" if event["commit"] else event["app"]
        operation = event["operation"]
        if not names:
            self._say("Nothing is to be done.")
            return
        self._say(f"{_DOING.get(operation, operation)} {what} on {_batches(event['batches'])}.", "bold")
        if self._console.out.is_terminal:
            self._console.watch(self)

    def _on_batch(self, event: Event) -> None:
        self._say(f"batch {event['number']} of {event['of']}: {', '.join(event['hosts'])}")

    def _on_phase(self, event: Event) -> None:
        self._row(event).to(str(event["phase"]))

    def _on_phase_finished(self, event: Event) -> None:
        if not self._console.out.is_terminal:
            self._of(event, f"{event['phase']} {seconds(event['seconds'])}")

    def _on_output(self, event: Event) -> None:
        if self._output:
            self._of(event, str(event["line"]))

    def _on_notice(self, event: Event) -> None:
        if "host" not in event:
            self._say(str(event["message"]))
        elif not self._console.out.is_terminal:
            self._of(event, str(event["message"]))

    def _on_warning(self, event: Event) -> None:
        """The same of many hosts is told once."""
        message = str(event["message"])
        if message not in self._told:
            self._told.add(message)
            self._of(event, f"warning: {message}", "yellow")

    def _on_lost(self, event: Event) -> None:
        self._row(event).to("connection lost: asking", "yellow")
        self._of(
            event, f"{event['reason']} What runs there goes on; it is asked what became of it.", "yellow"
        )

    def _on_step(self, event: Event) -> None:
        self._of(event, f"{event['share']} % of the clients for {seconds(event['seconds'])}")

    def _on_held(self, event: Event) -> None:
        told = f"{short(event['commit'])} is ready in slot {event['slot']} until {moment(event['until'])}"
        self._of(event, "\n".join([told, *previewed(event["links"], event["token"])]))

    def _on_host_ended(self, event: Event) -> None:
        state, style = str(event["state"]), _GOOD.get(str(event["state"]), "red")
        self._row(event).to(state, style, done=True)
        if state in _GOOD and not self._shows_ends:
            return
        if event.get("result") is not None:
            for line in self._results(event["result"]):
                self._of(event, line)
        took = f" in {seconds(event['seconds'])}" if event["seconds"] else ""
        live = f": slot {event['live']} is live with {short(event['commit'])}" if event["commit"] else ""
        self._of(event, f"{state}{live if state in _GOOD else ''}{took}", style)
        if state not in _GOOD:
            self._of(event, "\n".join(filter(None, [event["reason"], event["cure"]])))

    def __rich__(self) -> Table:
        """The table of all hosts, as it is now."""
        from rich.table import Table  # noqa: PLC0415  # for a terminal only
        from rich.text import Text  # noqa: PLC0415

        drawn = Table.grid(padding=(0, 2))
        for name, row in self._rows.items():
            took = "" if row.done or not row.since else seconds(time.monotonic() - row.since)
            drawn.add_row(name, Text(row.now, style=row.style), Text(took, style="dim"))
        return drawn


def _batches(planned: list[list[str]]) -> str:
    """``web1, then web2 and web3``; of many only how many."""
    if sum(map(len, planned)) > 8:
        sizes = [f"{len(batch)} host{'' if len(batch) == 1 else 's'}" for batch in planned]
        return ", then ".join(sizes)
    return ", then ".join(" and ".join(batch) for batch in planned)
