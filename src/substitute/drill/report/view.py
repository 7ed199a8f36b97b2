"""A result seen through a window of time: what a figure draws."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from substitute.drill.load import PACED, LaneName
from substitute.drill.report.scale import step
from substitute.drill.result.latency import percentile

if TYPE_CHECKING:
    from substitute.drill.client.recorder import Failure
    from substitute.drill.result.recording import Answered
    from substitute.drill.result.result import Result

LONG = (LaneName.SLOW, LaneName.UPLOAD)
_BUCKETS = 100
_SOME = 5
_BARS = 600
_FEW = 20
"""Answers that a bucket needs before its 99th percentile says more than its worst."""


@dataclass(frozen=True)
class Column:
    """What was answered and what failed in a stretch of time."""

    start: float
    answered: dict[str, int]
    failed: int


@dataclass(frozen=True)
class Piece:
    """What the window shows of a stretch that lasted `seconds`."""

    name: str
    start: float
    end: float
    seconds: float


@dataclass(frozen=True)
class Bar:
    """A long request."""

    start: float
    end: float
    version: str
    lane: str
    failed: str = ""


@dataclass(frozen=True)
class View:
    """All times are seconds since the drill began; `low` and `high` are the window."""

    result: Result
    low: float
    high: float

    @cached_property
    def versions(self) -> list[str]:
        """In the order in which they first answered, in the whole drill: so each keeps its colour."""
        return list(dict.fromkeys(one.version for one in self.result.recording.answered()))

    @cached_property
    def width(self) -> float:
        """Of a column, in seconds: narrow, and yet with some requests in it."""
        return step(self.high - self.low, max(10, min(_BUCKETS, len(self.dots) // _SOME)))

    @cached_property
    def stretches(self) -> list[Piece]:
        """The phases that the window shows something of."""
        begin = self.result.timeline.start
        pieces = [
            Piece(
                one.name,
                max(self.low, one.start - begin),
                min(self.high, one.end - begin),
                one.end - one.start,
            )
            for one in self.result.timeline.stretches()
        ]
        return [one for one in pieces if one.end > one.start]

    @cached_property
    def columns(self) -> list[Column]:
        """By when the answer was there, or the failure known."""
        start = self.result.timeline.start
        answered: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        failed: dict[int, int] = defaultdict(int)
        for one in self.result.recording.answered():
            answered[int((one.intended + one.latency - start) // self.width)][one.version] += 1
        for failure in self.result.recording.failures:
            failed[int((failure.at - start) // self.width)] += 1
        return [
            Column(number * self.width, dict(answered[number]), failed[number])
            for number in sorted({*answered, *failed})
            if self.low - self.width < number * self.width < self.high
        ]

    @cached_property
    def dots(self) -> list[Answered]:
        """The paced requests that were meant to be sent in the window."""
        start = self.result.timeline.start
        return [
            one
            for one in self.result.recording.answered()
            if one.lane in PACED and self.low <= one.intended - start <= self.high
        ]

    @cached_property
    def failures(self) -> list[Failure]:
        """Those that were known in the window."""
        start = self.result.timeline.start
        return [one for one in self.result.recording.failures if self.low <= one.at - start <= self.high]

    def line(self, percent: float) -> list[tuple[float, float]]:
        """A percentile of the latency over time: middle of a column, and seconds."""
        start = self.result.timeline.start
        found: dict[int, list[float]] = defaultdict(list)
        wide = self.width * 2
        for one in self.dots:
            found[int((one.intended - start) // wide)].append(one.latency)
        return [
            ((number + 0.5) * wide, percentile(sorted(latencies), percent))
            for number, latencies in sorted(found.items())
            if len(latencies) >= _FEW and self.low <= (number + 0.5) * wide <= self.high
        ]

    @cached_property
    def bars(self) -> list[Bar]:
        """The long requests that overlap the window; where there are too many, the longest."""
        start = self.result.timeline.start
        found = [
            Bar(one.intended - start, one.intended + one.latency - start, one.version, one.lane)
            for one in self.result.recording.answered()
            if one.lane in LONG
        ]
        found += [
            Bar(one.intended - start, one.at - start, one.version, one.lane, one.kind)
            for one in self.result.recording.failures
            if one.lane in LONG
        ]
        seen = [bar for bar in found if bar.end > self.low and bar.start < self.high]
        longest = sorted(seen, key=lambda bar: (not bar.failed, bar.start - bar.end))[:_BARS]
        return sorted(longest, key=lambda bar: bar.start)
