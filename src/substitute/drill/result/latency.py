"""Latencies, summed up without averaging anything away."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

PERCENTS = (50.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True)
class Summary:
    """Seconds from the intended send time to the last byte of the answer, over `requests` answers."""

    requests: int
    percentiles: tuple[float, ...]
    """Of `PERCENTS`; empty where there was no answer."""
    worst: float | None

    def document(self) -> dict[str, float | int | None]:
        """As JSON has it."""
        found = self.percentiles or (None,) * len(PERCENTS)
        named = {f"p{percent:g}": _rounded(value) for percent, value in zip(PERCENTS, found, strict=True)}
        return {"requests": self.requests, **named, "max": _rounded(self.worst)}


def summarize(latencies: Sequence[float]) -> Summary:
    """Sum up answers; a failed request has no latency."""
    ordered = sorted(latencies)
    if not ordered:
        return Summary(0, (), None)
    return Summary(len(ordered), tuple(percentile(ordered, percent) for percent in PERCENTS), ordered[-1])


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest of the ascending values that at least `percent` of all of them do not exceed."""
    # Rounded first: 99.9 * 1000 / 100 is a little more than 999.
    rank = math.ceil(round(len(ordered) * percent / 100, 6))
    return ordered[max(rank, 1) - 1]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
