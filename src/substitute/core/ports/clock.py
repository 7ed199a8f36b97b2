"""Time."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time, so that a test need not wait for it."""

    def now(self) -> float:
        """Seconds since the epoch, for people."""

    def monotonic(self) -> float:
        """Seconds, for deadlines."""

    def sleep(self, seconds: float) -> None:
        """Wait."""
