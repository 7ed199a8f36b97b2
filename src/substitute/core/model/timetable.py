"""When a cron is due. The arithmetic is cronsim's, which follows Debian's cron, also where clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from substitute.core.model.crons import Cron

SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
FIELDS = ("a minute", "an hour", "a day of the month", "a month", "a day of the week")
_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)


class NotATimeError(ValueError):
    """No time is described. The text completes "expected …"."""


def fields_of(at: str) -> str:
    """The five fields of `at`, or of what it is `SHORT` for. Raises NotATimeError, which names each wrong field."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  # only roots with a cron need it

    written = SHORT.get(at, at)
    words = written.split()
    if len(words) != len(FIELDS):
        raise NotATimeError(f'five fields, such as "30 6 * * 1-5", or {", ".join(SHORT)}')
    wrong = []
    for place, (name, word) in enumerate(zip(FIELDS, words, strict=True)):
        alone = ["*"] * len(FIELDS)
        alone[place] = word
        try:
            CronSim(" ".join(alone), _ANY_TIME)
        except CronSimError:
            wrong.append(f"{name} instead of {word}")
    if wrong:
        raise NotATimeError(" and ".join(wrong))
    try:
        next(CronSim(written, _ANY_TIME))
    except (CronSimError, StopIteration):
        raise NotATimeError("a time that comes: no such day is in these months") from None
    return " ".join(words)


def due_times(cron: Cron, zone: tzinfo, *, after: float, until: float) -> Iterator[float]:
    """When it is due after the moment `after` and not after `until`, in seconds since the epoch.

    A time that a change to summer time leaves out is due right after the change. One that comes twice in autumn is due
    once, unless it is one of every hour or every few minutes.
    """
    from cronsim import CronSim  # noqa: PLC0415

    times = CronSim(fields_of(cron.at), datetime.fromtimestamp(after, zone))
    for moment in times:
        due = moment.timestamp()
        if due > until:
            return
        if due > after:  # cronsim goes by the clock on the wall, which shows an hour twice in autumn
            after = due
            yield due


def next_time(cron: Cron, zone: tzinfo, *, after: float) -> float | None:
    """When it is due next; None where that never comes."""
    return next(due_times(cron, zone, after=after, until=float("inf")), None)
