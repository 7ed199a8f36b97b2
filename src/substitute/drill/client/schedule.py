"""When requests are meant to be sent. A late one keeps its time: no coordinated omission."""

from __future__ import annotations


class Schedule:
    """`rate` moments a second from `start` on, without drift."""

    def __init__(self, start: float, rate: float) -> None:
        self._start = start
        self._rate = rate
        self._count = 0

    @property
    def next(self) -> float:
        """The next moment that was not taken yet."""
        return self._start + self._count / self._rate

    def due(self, now: float) -> list[float]:
        """Take all moments up to `now`: each is given once, however late it is asked for."""
        found = []
        while (moment := self.next) <= now:
            found.append(moment)
            self._count += 1
        return found
