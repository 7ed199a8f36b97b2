"""Whether requests fail more often with the candidate, and whether it is shown that they do not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from substitute.core.judge.betting import Bet

if TYPE_CHECKING:
    from substitute.core.judge.block import Block

NOTICEABLE = 0.01
"""What "no worse" excludes: so much greater a part of the candidate's clients meets a failure at a look."""


class MoreFailures:
    """The evidence that the candidate fails more often.

    It assumes that in each block it is chance which version a client came to, so that those who meet a failure are
    spread by chance too. Bursts that meet both versions do not matter, nor does a rate that drifts. What does matter:
    several clients that fail together and came to the same version for one reason, such as a farm of robots.
    """

    def __init__(self) -> None:
        self._bet = Bet()

    def look(self, block: Block) -> None:
        """Bet on a block."""
        self._bet.look(
            requests=block.candidate.clients,
            marked=block.candidate.failing,
            others=block.live.clients,
            others_marked=block.live.failing,
        )

    @property
    def evidence(self) -> float:
        """At most 1 on average, at any moment, if the candidate fails no more often."""
        return self._bet.worth


class NotManyMoreFailures:
    """The evidence that the rate of the candidate's failures is not greater than the live version's by NOTICEABLE.

    For each block, the likelihood of equal rates is divided by that of the nearest two rates which are as far apart
    (Turner, Ly, Grünwald 2022, for a convex null hypothesis). The rate that is expected comes from the blocks before.
    Here failures of one block are independent, given what the block was like. Where nothing fails, some 460 requests
    of the candidate show with 99 % confidence that not 1 % more fail.
    """

    def __init__(self) -> None:
        self._clients, self._failing = 100.0, 0.5  # what is expected before anything was seen: half a percent
        self._log = 0.0

    def look(self, block: Block) -> None:
        """Bet on a block."""
        live, candidate = block.live, block.candidate
        if live.clients and candidate.clients:
            rate = self._failing / self._clients
            near = _nearest(rate, live.clients, candidate.clients)
            self._log += _log_ratio(live.failing, live.clients, rate, near)
            self._log += _log_ratio(candidate.failing, candidate.clients, rate, near + NOTICEABLE)
        self._clients += live.clients + candidate.clients
        self._failing += live.failing + candidate.failing

    @property
    def evidence(self) -> float:
        """At most 1 on average, at any moment, if the candidate's rate is greater by NOTICEABLE or more."""
        return math.exp(min(self._log, 300.0))


def _log_ratio(failing: int, clients: int, rate: float, other: float) -> float:
    return failing * math.log(rate / other) + (clients - failing) * math.log((1 - rate) / (1 - other))


def _nearest(rate: float, live: int, candidate: int) -> float:
    """The live rate x at which (x, x + NOTICEABLE) is nearest to (rate, rate), in relative entropy of the block.

    The distance is convex in x, so its slope has one zero, below `rate`.
    """
    low, high = 0.0, min(rate, 1 - NOTICEABLE)
    for _ in range(30):
        x = (low + high) / 2
        y = x + NOTICEABLE
        slope = live * (x - rate) / (x * (1 - x)) + candidate * (y - rate) / (y * (1 - y))
        low, high = (low, x) if slope > 0 else (x, high)
    return (low + high) / 2
