"""Whether the candidate answers later, and whether it is shown that it does not: of the distributions, not of means.

A request is slow if it took longer than a given quantile of the live version's earlier requests. Such a limit is known
before the block begins. For the candidate's requests it is longer by what is tolerated. If the candidate is slower by
no more than that, at any of its quantiles, then its requests are no more often slow, and the marks are spread as those
of failures are. Nothing is assumed of the distribution, and no request weighs more because it took a minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.judge.betting import Bet
from substitute.core.judge.block import Histogram, bucket_of, upper_edge

if TYPE_CHECKING:
    from substitute.core.judge.block import Block

QUANTILES = (0.5, 0.95)
TOLERATED = 0.1
"""So much slower (a tenth), or a millisecond, is not worse. "No worse" excludes twice as much."""
_TICK = 0.001  # HAProxy's log has whole milliseconds
_ENOUGH = 20  # answers of the live version before its quantiles are used


class Latency:
    """The evidence of one quantile, in both directions.

    It assumes what `MoreFailures` does, and that durations of the same client at different looks are independent. They
    are not quite: of few clients, those with the candidate may be slower by themselves. So `ClientCounts` takes few
    durations of each, and what is tolerated helps, too.
    """

    def __init__(self, quantile: float, tolerated: float) -> None:
        self.quantile = quantile
        self._tolerated = tolerated
        self._slower = Bet()
        self._not_much_slower = Bet()

    def look(self, block: Block, before: Histogram) -> None:
        """Bet on a block; `before` is the live version's latency in the blocks before."""
        limit = before.bucket_at(self.quantile)
        if limit is None or before.total < _ENOUGH:
            return
        below = (
            limit - 1
        )  # where all take the same time, all live ones are longer than this, and that is evidence
        live, candidate = block.live.latency, block.candidate.latency
        self._slower.look(
            requests=candidate.total,
            marked=candidate.above(_bucket_with(limit, self._tolerated, _TICK)),
            others=live.total,
            others_marked=live.above(limit),
        )
        self._not_much_slower.look(
            requests=live.total,
            marked=live.above(below),
            others=candidate.total,
            others_marked=candidate.above(_bucket_with(below, 2 * self._tolerated, 2 * _TICK) - 1),
        )

    @property
    def slower(self) -> float:
        """At most 1 on average, at any moment, if the candidate is not slower by more than is tolerated."""
        return self._slower.worth

    @property
    def not_much_slower(self) -> float:
        """At most 1 on average, at any moment, if the candidate is slower by twice what is tolerated, or more."""
        return self._not_much_slower.worth


def _bucket_with(limit: int, part: float, least: float) -> int:
    """The bucket of what is longer than a limit by a part of it, and by `least` seconds or more.

    All that is above this bucket is longer than that; all that is longer than that is above the bucket before.
    """
    edge = upper_edge(limit)
    return bucket_of(max(edge * (1 + part), edge + least))
