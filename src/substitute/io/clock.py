"""The real time."""

from __future__ import annotations

import time


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        """Seconds since the epoch, for people."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds, for deadlines; no change of the system's date moves it."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        time.sleep(max(0.0, seconds))
