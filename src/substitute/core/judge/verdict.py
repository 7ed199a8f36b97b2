"""What the judge says: one of three ends, the numbers behind it, and a sentence for people."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from substitute.core.judge.failures import NOTICEABLE
from substitute.core.model.findings import span
from substitute.values import dataclass

if TYPE_CHECKING:
    from substitute.core.judge.block import Tally

_COUNTLESS = 1e9


class End(Enum):
    """How a canary ends, or would if it ended now."""

    NO_WORSE = "no worse"
    """It is shown that the candidate does not fail noticeably more often, and is not noticeably slower."""
    WORSE = "worse"
    """It is worse beyond chance: stop it."""
    TOO_LITTLE = "too little traffic to tell"
    """Neither is shown."""


class Sign(Enum):
    """What the evidence is strongest for."""

    FAILURES = "failures"
    MEDIAN = "p50"
    TAIL = "p95"


@dataclass(frozen=True)
class Numbers:
    """Of one version, since the canary began."""

    requests: int
    failures: int
    failing: int
    """Clients to which something failed."""
    p50: float | None
    """Seconds, at most 2.5 % too long; None without answers."""
    p95: float | None

    @classmethod
    def of(cls, tally: Tally) -> Numbers:
        """Those of all that was counted."""
        return cls(
            tally.requests, tally.failures, tally.failing, tally.latency.at(0.5), tally.latency.at(0.95)
        )


@dataclass(frozen=True)
class Verdict:
    """What is known at one moment."""

    end: End
    live: Numbers
    candidate: Numbers
    level: float
    """The most that a false alarm may be: 0.01 is one of a hundred canaries of versions that are as good."""
    tolerated: float
    """How much slower is as good: 0.1 is a tenth."""
    evidence: float
    """That it is worse: an e-value. Chance alone brings it to X in at most one of X canaries."""
    sign: Sign
    """What `evidence` comes from most."""
    not_shown: tuple[Sign, ...] = ()
    """In what it is not shown yet that the candidate is no worse."""
    wanted: int | None = None
    """About how many requests of the candidate, in all, would show it if all goes on like this; None if that is not
    known, or it is shown."""

    @property
    def sentence(self) -> str:
        """For the screen."""
        return f"{self.end.value}: {_SAID[self.end](self)}"


def _worse(verdict: Verdict) -> str:
    if verdict.sign is Sign.FAILURES:
        seen = _told(verdict, Sign.FAILURES)
    else:
        seen = f"{_told(verdict, verdict.sign)}, after {verdict.candidate.requests:,} of its requests"
    return f"{seen}; {_chance(verdict.evidence)}"


def _no_worse(verdict: Verdict) -> str:
    return (
        f"{_told(verdict, Sign.FAILURES)}, {_told(verdict, Sign.TAIL)}; with {100 * (1 - verdict.level):.4g} % "
        f"confidence {_excluded(verdict, Sign.FAILURES)}, and {_excluded(verdict, Sign.TAIL)}"
    )


def _too_little(verdict: Verdict) -> str:
    signs = (Sign.FAILURES, Sign.TAIL) if verdict.candidate.p95 is not None else (Sign.FAILURES,)
    # Both quantiles have the same text.
    missing = " and that ".join(dict.fromkeys(_excluded(verdict, sign) for sign in verdict.not_shown))
    needed = f"; that takes about {verdict.wanted:,} requests of the candidate" if verdict.wanted else ""
    return f"{', '.join(_told(verdict, sign) for sign in signs)}; not shown is that {missing}{needed}"


_SAID = {End.WORSE: _worse, End.NO_WORSE: _no_worse, End.TOO_LITTLE: _too_little}


def _told(verdict: Verdict, sign: Sign) -> str:
    live, candidate = verdict.live, verdict.candidate
    if sign is Sign.FAILURES:
        requests = "request" if candidate.requests == 1 else "requests"
        return (
            f"{candidate.failures:,} of {candidate.requests:,} {requests} failed{_for_clients(candidate)} "
            f"(live: {live.failures:,} of {live.requests:,}{_for_clients(live)})"
        )
    if sign is Sign.MEDIAN:
        return f"p50 {_time(candidate.p50)} (live: {_time(live.p50)})"
    return f"p95 {_time(candidate.p95)} (live: {_time(live.p95)})"


def _for_clients(numbers: Numbers) -> str:
    if numbers.failing == numbers.failures:
        return ""
    return f" for {numbers.failing:,} {'client' if numbers.failing == 1 else 'clients'}"


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else span(seconds)


def _chance(evidence: float) -> str:
    """In two digits: more would be no truth."""
    if evidence >= _COUNTLESS:
        return "as good a version does so less than once in a billion canaries"
    return f"as good a version does so at most once in {int(float(f'{evidence:.2g}')):,} canaries"


def _excluded(verdict: Verdict, sign: Sign) -> str:
    if sign is Sign.FAILURES:
        return f"less than {100 * NOTICEABLE:.3g} % more of its requests fail"
    return f"it is less than {200 * verdict.tolerated:.3g} % slower"
