"""The bet that a mark meets the candidate more often than its part of the requests explains.

Of all requests of a block some are marked: as failed, or as slow. If the version does not matter, then the marks are
spread over the requests by chance, and how many the candidate has follows the hypergeometric distribution, exactly, and
however many marks there are. So a rate that changes through the day, or a database that fails for both, is no evidence.
"""

from __future__ import annotations

import math
from functools import lru_cache

ODDS = (1.1, 1.25, 1.5, 2.0, 3.0, 6.0, 20.0, 100.0)
"""How many times as likely the candidate's requests are marked (odds ratio): one bet on each, with equal stakes."""
LATER = 1 / 50
"""Which part of what is kept back is bet at each look."""
SPREAD = 2 * len(ODDS)
"""One of so many parts of the stake is on what turns out to be true, and on that from the beginning."""
_LOGS = tuple(map(math.log, ODDS))
_MOST = 300.0
"""The logarithm of what a stake may become: more says no more, and cannot be computed with."""


class Bet:
    """A stake of 1 that is bet anew at each look.

    If the odds of a mark are no greater for the candidate than for the live version, in each block and whatever was
    seen before, then it is expected to be at most 1 at every moment (the noncentral hypergeometric distribution has a
    monotone likelihood ratio).

    Half of the stake is kept back, and bet bit by bit later: a version may become worse after some minutes, and a bet
    from the beginning has been lost by then.
    """

    def __init__(self) -> None:
        self._kept = 0.5
        self._stakes = [0.5 / len(ODDS)] * len(ODDS)

    def look(self, *, requests: int, marked: int, others: int, others_marked: int) -> None:
        """Bet on a block: `marked` of the candidate's `requests`, and `others_marked` of the `others`."""
        if not requests or not others or not marked + others_marked:
            return  # either has nothing to compare, or all are alike
        fair = _logs_of_fair_prices(requests, others, marked + others_marked)
        added = LATER * self._kept / len(ODDS)
        self._kept -= LATER * self._kept
        self._stakes = [
            min((stake + added) * math.exp(min(marked * log_odds - price, _MOST)), math.exp(_MOST))
            for stake, log_odds, price in zip(self._stakes, _LOGS, fair, strict=True)
        ]

    @property
    def worth(self) -> float:
        """What has become of the stake: the evidence (an e-value)."""
        return self._kept + sum(self._stakes)


@lru_cache(maxsize=20_000)
def _logs_of_fair_prices(requests: int, others: int, marks: int) -> tuple[float, ...]:
    """For each of the odds, the logarithm of the mean of `odds ** K`, for K of the marks by chance on `requests`."""
    fewest, most = max(0, marks - others), min(marks, requests)
    log = _log_choose(requests, fewest) + _log_choose(others, marks - fewest)
    log -= _log_choose(requests + others, marks)
    logs = [log]
    for k in range(fewest, most):
        log += math.log((requests - k) * (marks - k) / ((k + 1) * (others - marks + k + 1)))
        logs.append(log)
    return tuple(_log_of_mean(logs, log_odds, fewest) for log_odds in _LOGS)


def _log_of_mean(logs: list[float], log_odds: float, fewest: int) -> float:
    terms = [log + k * log_odds for k, log in enumerate(logs, fewest)]
    greatest = max(terms)
    return greatest + math.log(sum(math.exp(term - greatest) for term in terms))


def _log_choose(of: int, some: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(some + 1) - math.lgamma(of - some + 1)
