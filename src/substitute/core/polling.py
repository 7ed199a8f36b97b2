"""Look again until something is so, or until the time for it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from substitute.io.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.ports.clock import Clock

T = TypeVar("T")
_REAL = SystemClock()


def wait_until(look: Callable[[], T], seconds: float, tick: float, *, clock: Clock = _REAL) -> T:
    """Return the first true value that `look` gives, or the false one that it gave when `seconds` were over.

    It looks at once, every `tick` seconds, and a last time at the deadline. What `look` raises ends the wait.
    """
    deadline = clock.monotonic() + seconds
    while not (seen := look()) and clock.monotonic() < deadline:
        clock.sleep(tick)
    return seen


def wait_while(look: Callable[[], T], seconds: float, tick: float, *, clock: Clock = _REAL) -> T:
    """Return the first false value that `look` gives, or the true one that is left when `seconds` are over.

    It looks as often as `wait_until`.
    """
    deadline = clock.monotonic() + seconds
    while (seen := look()) and clock.monotonic() < deadline:
        clock.sleep(tick)
    return seen
