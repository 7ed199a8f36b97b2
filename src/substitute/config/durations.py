"""Spans of time as people write them: ``"500ms"``, ``"30s"``, ``"2m"``, ``"1h"``, or seconds."""

from __future__ import annotations

import math
import re

FORM = r"[0-9]+(\.[0-9]+)? ?(ms|s|m|h)"
EXAMPLES = '"500ms", "30s", "2m", "1h" or a number of seconds'

FOREVER = "forever"
"""Where a key takes it."""
LONGEST = 24 * 86400.0
"""Seconds. Balancers count milliseconds in 31 bits, which end after 24.8 days."""

_FACTORS = {"h": 3600, "m": 60, "s": 1}


def parse_duration(value: object) -> float:
    """Turn `value` into seconds.

    Raises ValueError with what was expected.
    """
    seconds = _seconds(value)
    if seconds is None:
        raise ValueError(f"a duration: {EXAMPLES}")
    if not 0 <= seconds <= LONGEST:
        raise ValueError(f"a duration from 0 to {format_duration(LONGEST)}")
    return seconds


def _seconds(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        # An integer of any size is valid TOML, and a float cannot hold it.
        return float(value) if abs(value) <= LONGEST else math.inf
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if not isinstance(value, str) or not re.fullmatch(FORM, value):
        return None
    if value.endswith("ms"):
        return float(value[:-2]) / 1000
    return float(value[:-1]) * _FACTORS[value[-1]]


def format_duration(seconds: float) -> str:
    """Write `seconds` so that `parse_duration` reads the same value; infinity is `FOREVER`."""
    if seconds == math.inf:
        return FOREVER
    for unit, factor in _FACTORS.items():
        if seconds >= factor and seconds % factor == 0:
            return f"{int(seconds // factor)}{unit}"
    milliseconds = round(seconds * 1000)
    if milliseconds and milliseconds / 1000 == seconds:
        return f"{milliseconds}ms"
    from decimal import Decimal  # noqa: PLC0415  seldom needed

    return f"{Decimal(repr(seconds)).normalize():f}s"
