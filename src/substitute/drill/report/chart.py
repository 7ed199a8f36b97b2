"""The load on a terminal, while it flows: requests, the slowest answers, failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from substitute.console.text import harmless
from substitute.drill.report.summary import count_of, milliseconds, version_name
from substitute.drill.result.recording import Recording, Tick

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from substitute.drill.result.timeline import Timeline

_BARS = "▁▂▃▄▅▆▇█"
_BARS_ASCII = ".:-=+*#@"
_WIDTH = 60
_BESIDE = 30
"""Columns for the words around the bars."""


class Chart:
    """Three lines that rich draws whenever it likes; a column is half a second."""

    def __init__(self, recording: Recording, timeline: Timeline, rate: float) -> None:
        self._recording = recording
        self._timeline = timeline
        self._full = max(1.0, rate * Recording.TICK)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as it is now."""
        bars = _BARS if console.encoding.lower().startswith("utf") else _BARS_ASCII
        ticks = self._latest(max(8, min(_WIDTH, options.max_width - _BESIDE)))
        worst = max((tick.worst for tick in ticks), default=0.0)
        failed = len(self._recording.failures)
        now = ticks[-2] if len(ticks) > 1 else Tick()
        answered = "".join(_bar(bars, tick.answered / self._full) for tick in ticks)
        slow = "".join(_bar(bars, tick.worst / worst if worst else 0) for tick in ticks)
        marks = "".join("x" if tick.failed else " " for tick in ticks)
        yield Text.assemble("requests ", (answered, "cyan"), f" {now.answered / Recording.TICK:,.0f}/s")
        yield Text.assemble("slowest  ", (slow, "magenta"), f" {milliseconds(worst)}")
        yield Text.assemble(
            "failed   ", (marks, "red bold"), (f" {failed:,}", "red" if failed else "green"),
            f" of {count_of(self._recording.requests)}",
        )  # fmt: skip
        answers = ", ".join(
            f"{count:,} by {harmless(version_name(name))}" for name, count in self._versions()
        )
        yield Text(f"{self._timeline.now}: {answers}", style="dim", overflow="ellipsis", no_wrap=True)

    def _latest(self, most: int) -> list[Tick]:
        ticks = self._recording.ticks
        if not ticks:
            return []
        last = max(list(ticks))
        first = max(min(list(ticks)), last - most + 1)
        return [ticks.get(number, Tick()) for number in range(first, last + 1)]

    def _versions(self) -> list[tuple[str, int]]:
        return list(self._recording.versions().items())


def _bar(bars: str, share: float) -> str:
    if share <= 0:
        return " "
    return bars[max(0, min(len(bars) - 1, int(share * len(bars) - 0.001)))]
