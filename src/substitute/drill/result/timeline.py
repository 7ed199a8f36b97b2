"""When the operation did what, from its events: by this every request finds its phase."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from substitute.core.model.events import Event, PhaseFinished, PhaseStarted, Resolved, Stepped, Succeeded

if TYPE_CHECKING:
    from collections.abc import Callable

BASELINE, BEFORE, BEGIN, AFTER = "baseline", "before", "begin", "after"
AROUND = {BASELINE, BEFORE, AFTER}
"""Names beside those of the phases: `begin` is what comes before the first one (lock, settle, choosing)."""


@dataclass(frozen=True)
class Stretch:
    """A part of the drill, in seconds of the monotonic clock."""

    name: str
    start: float
    end: float


class Timeline:
    """Takes the events of an operation; before it and after it there are none."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.open(clock())
        self.end: float | None = None
        self.deployment: int | None = None
        self.commit: str | None = None
        self.succeeded: Succeeded | None = None

    def __call__(self, event: Event) -> None:
        """Note what an event says."""
        match event:
            case PhaseStarted():
                self.deployment = event.deployment
                self._mark(event.phase)
            case PhaseFinished():
                pass  # what comes until the next phase (hooks, settling) belongs to this one
            case Resolved():
                self.commit = event.commit
            case Stepped():
                self._mark(f"{event.share} %")
            case Succeeded():
                self.succeeded = event
            case _:
                pass

    def open(self, moment: float, name: str = BEFORE) -> None:
        """The load began at `moment`; with `BASELINE` there will be no operation."""
        self.start = moment
        self._marks: list[tuple[float, str]] = [(moment, name)]

    def begin(self) -> None:
        """The operation begins."""
        self._mark(BEGIN)

    def finish(self) -> None:
        """The operation has ended, however."""
        self._mark(AFTER)

    def close(self) -> None:
        """The load has ended."""
        self.end = self._clock()

    @property
    def now(self) -> str:
        """The name of what is going on."""
        return self._marks[-1][1]

    def phase_at(self, moment: float) -> str:
        """The phase, or ``before``, ``begin``, ``after``, or ``baseline``."""
        index = bisect_right(self._marks, moment, key=lambda mark: mark[0])
        return self._marks[max(0, index - 1)][1]

    def part_at(self, moment: float) -> str:
        """``before``, ``during`` or ``after`` the operation, or ``baseline`` where there is none."""
        name = self.phase_at(moment)
        return name if name in AROUND else "during"

    def stretches(self) -> list[Stretch]:
        """Everything that went on, in order, without gaps."""
        end = self.end or self._clock()
        ends = [moment for moment, _ in self._marks[1:]] + [end]
        found: list[Stretch] = []
        for (start, name), until in zip(self._marks, ends, strict=True):
            if found and found[-1].name == name:
                found[-1] = replace(found[-1], end=until)
            else:
                found.append(Stretch(name, start, until))
        return found

    def _mark(self, name: str) -> None:
        self._marks.append((self._clock(), name))
