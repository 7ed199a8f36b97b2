"""The streams of a version that leaves, ended in waves, so that their clients do not all come back in one moment.

A WebSocket or an event stream may last for hours. Its client opens it again when it ends, and meets the new version.
Which there are, the balancer knows, and when they are to end, the configuration says (the journal has a copy). How far
the waves are, nobody notes: whoever goes on after a process was killed begins with the first wave, and with what is
left.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from substitute.core.model.errors import UnobservedError
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.host import Host
    from substitute.core.model.app_settings import Waves
    from substitute.core.model.events import Drained
    from substitute.core.model.records import SlotRecord

_PERIOD, _FEWEST = 1.0, 10
"""Seconds between two waves, or less: there are at least so many."""
_AGAIN = 10.0
"""Seconds after the last wave until it is looked again: a request that was answered late may have become a stream."""
_GONE_WITHIN = 1.0
"""Seconds until the balancer has seen the end of the last ones."""


def due(streams: int, elapsed: float, waves: Waves) -> int:
    """How many of `streams` are to have been ended `elapsed` seconds after the start of the drain."""
    since = elapsed - waves.after
    if since < 0:
        return 0
    if since >= waves.over:
        return streams
    count = max(_FEWEST, math.ceil(waves.over / _PERIOD))
    done = math.floor(since / waves.over * count) + 1
    return math.ceil(streams * done / (count + 1))  # the first at the start, the last at the end


class StreamEnding:
    """The waves of one drain, from when it is made."""

    def __init__(self, host: Host, slot: SlotRecord, waves: Waves | None) -> None:
        """`waves`: when; None: no stream is ended."""
        self._host = host
        self._slot = slot
        self._waves = waves
        self._began = host.clock.monotonic()
        self._found: Sequence[str] = ()
        self._done = 0
        self._look_at = waves.after if waves else math.inf
        """When it is looked which streams there are, in seconds since it began."""
        self._ended = 0

    @property
    def limit(self) -> float:
        """How long it takes, in seconds, until the last one is seen to have ended."""
        return self._waves.end + _GONE_WITHIN if self._waves else 0.0

    def proceed(self) -> None:
        """End those that are due. A balancer that does not tell at this moment is asked again."""
        elapsed = self._host.clock.monotonic() - self._began
        if self._waves is None or elapsed < self._waves.after:
            return
        if elapsed >= self._look_at:
            try:
                self._found, self._done = self._host.balancer.streams(self._slot.endpoints), 0
            except UnobservedError:
                return
            self._look_at = self._waves.end if elapsed < self._waves.end else elapsed + _AGAIN
        if (now := due(len(self._found), elapsed, self._waves)) > self._done:
            self._ended += self._host.balancer.end_streams(self._found[self._done : now])
            self._done = now

    def counted(self, drained: Drained) -> Drained:
        """`drained`, where those that were ended here count as such, and not as finished."""
        return replace(drained, finished=max(drained.finished - self._ended, 0), streams=self._ended)
