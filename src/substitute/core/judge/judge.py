"""All tests together."""

from __future__ import annotations

import math

from substitute.core.judge.betting import SPREAD
from substitute.core.judge.block import Block
from substitute.core.judge.failures import MoreFailures, NotManyMoreFailures
from substitute.core.judge.latency import QUANTILES, TOLERATED, Latency
from substitute.core.judge.verdict import End, Numbers, Sign, Verdict

LEVEL = 0.01
_SIGN_OF = dict(zip(QUANTILES, (Sign.MEDIAN, Sign.TAIL), strict=True))
_A_HINT = 0.5  # below such a logarithm of an evidence nothing can be said about how long it will take


class Judge:
    """Judges one canary.

    `level` is the part of all canaries with a version as good that may be called worse, at most. `tolerated` is how
    much slower is as good: 0.1 is a tenth.
    """

    def __init__(self, *, level: float = LEVEL, tolerated: float = TOLERATED) -> None:
        self._level = level
        self._tolerated = tolerated
        self._seen = Block()
        self._more_failures = MoreFailures()
        self._not_many_more = NotManyMoreFailures()
        self._latencies = tuple(Latency(each, tolerated) for each in QUANTILES)

    def look(self, block: Block) -> None:
        """Take what happened since the last look. Look before the share of the candidate changes, too."""
        self._more_failures.look(block)
        self._not_many_more.look(block)
        for one in self._latencies:
            one.look(block, self._seen.live.latency)
        self._seen += block

    @property
    def worse(self) -> bool:
        """Whether the candidate is worse beyond chance, so that the canary has to stop now."""
        return sum(self._evidence().values()) >= 1 / self._level

    def verdict(self) -> Verdict:
        """How the canary ends if it ends now."""
        parts = self._evidence()
        evidence = sum(parts.values())
        shown = {Sign.FAILURES: self._not_many_more.evidence}
        for one in self._latencies:
            shown[_SIGN_OF[one.quantile]] = one.not_much_slower
        missing = tuple(sign for sign, value in shown.items() if value < 1 / self._level)
        end = End.TOO_LITTLE if missing else End.NO_WORSE
        return Verdict(
            end=End.WORSE if evidence >= 1 / self._level else end,
            live=Numbers.of(self._seen.live),
            candidate=Numbers.of(self._seen.candidate),
            level=self._level,
            tolerated=self._tolerated,
            evidence=evidence,
            sign=max(parts, key=parts.__getitem__),
            not_shown=missing,
            wanted=self._wanted({sign: shown[sign] for sign in missing}),
        )

    def _evidence(self) -> dict[Sign, float]:
        """A mean of e-values is one, whatever they have to do with one another. Half of it is the failures'."""
        parts = {Sign.FAILURES: self._more_failures.evidence / 2}
        for one in self._latencies:
            parts[_SIGN_OF[one.quantile]] = one.slower / 2 / len(self._latencies)
        return parts

    def _wanted(self, missing: dict[Sign, float]) -> int | None:
        """The logarithm of an evidence grows with the requests; that of a bet first makes up for how it is spread."""
        parts = []
        for sign, evidence in missing.items():
            log = math.log(max(evidence, 1e-300))
            if log < _A_HINT:
                return None
            spread = 0.0 if sign is Sign.FAILURES else math.log(SPREAD)
            parts.append((math.log(1 / self._level) + spread) / (log + spread))
        if not parts:
            return None
        wanted = int(self._seen.candidate.requests * max(parts))
        return round(wanted, 2 - len(str(wanted)))
