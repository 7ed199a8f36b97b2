"""A drill from its first request to its last: before, the operation, after."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.interrupts import Interrupts
from substitute.core.model.errors import InterruptedByUserError, SubstituteError
from substitute.drill.process import LoadProcess
from substitute.drill.result.course import Course
from substitute.drill.result.timeline import BASELINE, BEFORE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from substitute.drill.load import Load
    from substitute.drill.result.recording import Recording
    from substitute.drill.result.timeline import Timeline

    Operation = Callable[[], None]

_TICK = 0.05


@dataclass(frozen=True)
class Timing:
    """How long the load flows, in seconds: `before` and `after` the operation, at least `duration` in all."""

    before: float = 3.0
    after: float = 3.0
    duration: float = 0.0


def run(
    load: Load,
    operation: Operation | None,
    timing: Timing,
    *,
    timeline: Timeline,
    recording: Recording,
    directory: Path,
) -> Course:
    """Put `load` on, and run `operation` in its middle.

    What the operation raises is part of the result, Ctrl-C too; then the load ends at once, while a failed
    operation is still followed by its time after. Ctrl-C outside of the operation ends the drill.
    """
    course = Course()
    with (
        Interrupts(lambda _: None) as interrupts,
        LoadProcess(load, recording, directory=directory) as process,
    ):
        start = recording.began or time.monotonic()
        timeline.open(start, BEFORE if operation else BASELINE)
        try:
            with interrupts.allowed():
                _wait(process, start + (timing.before if operation else timing.duration))
            if operation and not process.lost:
                course.error = _operate(operation, timeline)
                until = max(time.monotonic() + timing.after, start + timing.duration)
                if not isinstance(course.error, InterruptedByUserError):
                    with interrupts.allowed():
                        _wait(process, until)
        except InterruptedByUserError as interrupted:
            course.error = course.error or interrupted
        process.stop()
        timeline.close()
        if process.lost:
            course.lost = _end_of(process.log)
    return course


def _operate(operation: Operation, timeline: Timeline) -> SubstituteError | None:
    timeline.begin()
    try:
        operation()
    except SubstituteError as error:
        return error
    finally:
        timeline.finish()
    return None


def _wait(process: LoadProcess, until: float) -> None:
    while not process.lost and (left := until - time.monotonic()) > 0:
        time.sleep(min(_TICK, left))


def _end_of(log: Path) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]) or "no word"
    except OSError as error:
        return error.strerror or str(error)
