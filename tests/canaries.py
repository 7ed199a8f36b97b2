"""Simulated canaries: what a balancer would have counted of two versions, one look after the other. Seeded."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING

from substitute.core.judge.block import Block, Histogram, Tally, bucket_of
from substitute.core.judge.client_counts import ClientCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Quantile = Callable[[float], float]
    Drift = Callable[[float], float]

LOOK = 2.0
_FINENESS = 4000
_NORMAL = NormalDist()


def lognormal(probability: float) -> float:
    """Seconds: median 100 ms, p95 520 ms, p99 1 s: a heavy tail."""
    return 0.1 * math.exp(_NORMAL.inv_cdf(probability))


def bimodal(probability: float) -> float:
    """Four of five answered from a cache in some 3 ms, the others after some 300 ms."""
    if probability < 0.8:
        return 0.003 * math.exp(0.2 * _NORMAL.inv_cdf(probability / 0.8))
    return 0.3 * math.exp(0.5 * _NORMAL.inv_cdf((probability - 0.8) / 0.2))


def whole_milliseconds(probability: float) -> float:
    """An app that answers in one to four milliseconds, as a clock of whole milliseconds has it: many ties."""
    return math.floor(1000 * 0.002 * math.exp(0.3 * _NORMAL.inv_cdf(probability))) / 1000


def steady(_seconds: float) -> float:
    """No drift."""
    return 1.0


def doubling(seconds: float) -> float:
    """As much again each minute."""
    return 1 + seconds / 60


def outage(seconds: float) -> float:
    """Ten seconds in which the database of both is away: hundred times as much."""
    return 100.0 if 30 <= seconds < 40 else 1.0


@dataclass(frozen=True)
class Canary:
    """Two versions under the same traffic. What is equal by default makes them equal."""

    rate: float = 20.0
    """Requests a second, of both."""
    share: float = 0.25
    failing: float = 0.001
    more_failures: float = 0.0
    latency: Quantile = lognormal
    slower: float = 1.0
    slower_above: float = 0.0
    """From which quantile on; 0.9 is the slowest tenth."""
    drift: Drift = steady
    """Of the failures' rate and of the latency, by the second."""
    from_second: float = 0.0
    """When the candidate becomes worse."""
    tables: dict[float, list[int]] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        return (
            f"{self.rate:g}/s, {self.share:.0%}, {self.failing:.1%} +{self.more_failures:.0%} failures, "
            f"{self.latency.__name__} x{self.slower:g}, {self.drift.__name__}"
        )

    def blocks(self, seed: int, seconds: float) -> Iterator[Block]:
        """What is seen at each look."""
        chance = random.Random(seed)  # noqa: S311  # a simulation
        for look in range(int(seconds / LOOK)):
            now = look * LOOK
            requests = poisson(chance, self.rate * LOOK)
            candidates = binomial(chance, requests, self.share)
            drift = self.drift(now)
            worse = now >= self.from_second
            failing = min(self.failing * drift, 0.5)
            yield Block(
                self._tally(chance, requests - candidates, failing, 1.0, drift),
                self._tally(
                    chance,
                    candidates,
                    failing + self.more_failures * worse,
                    self.slower if worse else 1.0,
                    drift,
                ),
            )

    def _tally(
        self, chance: random.Random, requests: int, failing: float, slower: float, drift: float
    ) -> Tally:
        failures = binomial(chance, requests, failing)
        counts = Counter(chance.choices(self._table(slower), k=requests - failures))
        later = round(math.log(drift) / math.log(1.025))
        latency = Histogram({bucket + later: count for bucket, count in counts.items()})
        return Tally.of_requests(requests, failures, latency)

    def _table(self, slower: float) -> list[int]:
        if slower not in self.tables:
            self.tables[slower] = [
                bucket_of(self.latency(at) * (slower if at > self.slower_above else 1))
                for at in ((each + 0.5) / _FINENESS for each in range(_FINENESS))
            ]
        return self.tables[slower]


@dataclass(frozen=True)
class Clients:
    """Equal versions, and clients that stay with theirs. A few send broken requests over and over, some slow ones."""

    number: int = 200
    share: float = 0.25
    broken: int = 3
    """So many clients get a 5xx for whatever they send."""
    kinds: float = 0.5
    """How much the clients differ in latency: the standard deviation of its logarithm."""
    named: bool = True
    """Whether the judge is told which client sent a request."""

    def blocks(self, seed: int, seconds: float) -> Iterator[Block]:
        """What is seen at each look. Each client sends a request every two seconds or so; the broken ones five."""
        chance = random.Random(seed)  # noqa: S311  # a simulation
        clients = [
            (f"client {each}", chance.random() < self.share, each < self.broken, chance.gauss(0, self.kinds))
            for each in range(self.number)
        ]
        gathering = ClientCounts()
        for _ in range(int(seconds / LOOK)):
            for name, candidate, broken, kind in clients:
                for _ in range(poisson(chance, 5.0 if broken else 1.0)):
                    gathering.add(
                        candidate=candidate,
                        client=name if self.named else None,
                        failed=broken or chance.random() < 0.0005,
                        seconds=0.1 * math.exp(kind + chance.gauss(0, 0.7)),
                    )
            yield gathering.block()


def poisson(chance: random.Random, mean: float) -> int:
    """Rounded from the normal distribution where that is as good."""
    if mean > 50:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    number, product = 0, chance.random()
    limit = math.exp(-mean)
    while product > limit:
        number += 1
        product *= chance.random()
    return number


def binomial(chance: random.Random, number: int, probability: float) -> int:
    """How many of `number` happen: from one that does to the next."""
    if probability <= 0 or not number:
        return 0
    found, at = 0, 0
    log = math.log1p(-probability)
    while True:
        at += 1 + int(math.log(1 - chance.random()) / log)
        if at > number:
            return found
        found += 1
