"""A candidate that is held, or meets its first clients, in lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.console.tables import moment, previewed
from substitute.console.text import seconds, short
from substitute.core.model.events import Held, Stepped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.model.events import Compared, Seen


def lines(event: Held | Stepped | Compared) -> Iterator[str]:
    """What `event` says."""
    if isinstance(event, Held):
        yield from _held(event)
    elif isinstance(event, Stepped):
        yield f"  {event.share} % of the clients for {seconds(event.seconds)}"
    else:
        yield _compared(event)


def _compared(event: Compared) -> str:
    left = f", {seconds(event.left)} left" if event.left else ""
    both = {"new": event.candidate, "live": event.live}
    return f"  {event.share} %{left}: " + "; ".join(f"{name} {_seen(one)}" for name, one in both.items())


def _seen(seen: Seen) -> str:
    tail = "" if seen.p95 is None else f", p95 {seconds(seen.p95)}"
    return f"{seen.per_second:g}/s, {seen.failures:,} of {seen.requests:,} failed{tail}"


def _held(event: Held) -> Iterator[str]:
    serves = f"Slot {event.live} serves on." if event.live else "Nothing serves yet."
    until = moment(event.until)
    yield f"{event.app}: {short(event.commit)} is ready in slot {event.slot}, and held until {until}. {serves}"
    yield from previewed(event.links, event.token)
    yield "  `substitute promote` makes it live; `substitute abort` stops it."
