"""What both versions did between two looks: whole numbers, which can be added up and written as JSON."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH = 1.025
"""How much longer the times of one bucket are than those of the bucket before."""
_SHORTEST = 0.001


def bucket_of(seconds: float) -> int:
    """The bucket of a duration. Bucket 0 has all below a millisecond: HAProxy's log has whole milliseconds."""
    if seconds < _SHORTEST:
        return 0
    # The small addition keeps 2 ms in one bucket, whether it was 2 / 1000 or 0.001 + 0.001.
    return 1 + int(math.log(seconds / _SHORTEST) / math.log(WIDTH) + 1e-9)


def upper_edge(bucket: int) -> float:
    """The duration, in seconds, below which all of a bucket and of those before it are."""
    return float(_SHORTEST * WIDTH**bucket)


@dataclass(frozen=True)
class Histogram:
    """How many durations are in each bucket."""

    counts: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, durations: Iterable[float]) -> Histogram:
        """That of durations in seconds."""
        counts: dict[int, int] = {}
        for one in durations:
            bucket = bucket_of(one)
            counts[bucket] = counts.get(bucket, 0) + 1
        return cls(counts)

    def __add__(self, other: Histogram) -> Histogram:
        counts = dict(self.counts)
        for bucket, count in other.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
        return Histogram(counts)

    @cached_property
    def _up_to(self) -> tuple[list[int], list[int]]:
        """The buckets, and how many are in each and in those before it."""
        buckets = sorted(self.counts)
        return buckets, list(accumulate(self.counts[each] for each in buckets))

    @property
    def total(self) -> int:
        """How many durations there are."""
        _, sums = self._up_to
        return sums[-1] if sums else 0

    def above(self, bucket: int) -> int:
        """How many are in later buckets than this one."""
        buckets, sums = self._up_to
        place = bisect_right(buckets, bucket)
        return self.total - sums[place - 1] if place else self.total

    def bucket_at(self, quantile: float) -> int | None:
        """The first bucket with at least this part of all in it and before it; None if there are none."""
        buckets, sums = self._up_to
        return buckets[bisect_left(sums, quantile * sums[-1])] if sums else None

    def at(self, quantile: float) -> float | None:
        """A quantile in seconds, at most 2.5 % too long; None if there is nothing."""
        bucket = self.bucket_at(quantile)
        return None if bucket is None else upper_edge(bucket)


@dataclass(frozen=True)
class Tally:
    """What one version did."""

    requests: int = 0
    failures: int = 0
    """Those with a 5xx, or whose connection broke."""
    clients: int = 0
    """How many clients are judged by: those that sent something, and to which nothing had failed before."""
    failing: int = 0
    """To how many of these clients something failed now, for the first time."""
    latency: Histogram = field(default_factory=Histogram)
    """How long answers took that are no failures, of the clients and looks that `ClientCounts` chooses."""

    @classmethod
    def of_requests(cls, requests: int, failures: int, latency: Histogram) -> Tally:
        """Where the clients are not known: each request counts as one of a client of its own."""
        return cls(requests, failures, requests, failures, latency)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.requests + other.requests,
            self.failures + other.failures,
            self.clients + other.clients,
            self.failing + other.failing,
            self.latency + other.latency,
        )

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        counts = [list(pair) for pair in sorted(self.latency.counts.items())]
        return {
            "requests": self.requests,
            "failures": self.failures,
            "clients": self.clients,
            "failing": self.failing,
            "latency": counts,
        }

    @classmethod
    def read(cls, plain: dict[str, Any]) -> Tally:
        """What `plain` made."""
        return cls(**plain | {"latency": Histogram(dict(plain["latency"]))})


@dataclass(frozen=True)
class Block:
    """What both versions did in the same seconds. Only what is of the same block is ever compared."""

    live: Tally = field(default_factory=Tally)
    candidate: Tally = field(default_factory=Tally)

    def __add__(self, other: Block) -> Block:
        return Block(self.live + other.live, self.candidate + other.candidate)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"live": self.live.plain(), "candidate": self.candidate.plain()}

    @classmethod
    def read(cls, plain: dict[str, Any]) -> Block:
        """What `plain` made."""
        return cls(Tally.read(plain["live"]), Tally.read(plain["candidate"]))
