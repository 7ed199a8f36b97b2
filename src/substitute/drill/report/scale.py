"""From seconds to places on a drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass

_NICE = (1, 2, 5)


@dataclass(frozen=True)
class Span:
    """A linear axis: `low` to `high` lies between the places `start` and `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where `value` is."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether `value` is on it."""
        return self.low <= value <= self.high


def step(length: float, most: int) -> float:
    """Return the smallest of 1, 2, 5, 10, 20, … (or 0.1, 0.2, …) that cuts `length` into at most `most` parts."""
    least = length / most
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (*_NICE, 10) if power * factor >= least * 0.999999)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values from `low` to `high`."""
    width = step(high - low, most)
    first = math.ceil(low / width - 1e-9)
    return [number * width for number in range(first, math.floor(high / width + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Return round values of a logarithmic axis: the powers of ten, and more where they are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = _NICE if math.log10(high / low) < 2 else (1,)
    values = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in values if low * 0.999 <= value <= high * 1.001]
