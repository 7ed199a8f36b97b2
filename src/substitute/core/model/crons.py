"""Commands that a version runs at fixed times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


SCHEDULER = "scheduler"
"""What a runtime calls that which starts them."""


@dataclass(frozen=True)
class Cron:
    """A command, and when it is due."""

    at: str
    """Five fields as cron has them, or one of `timetable.SHORT`."""
    command: str
    timeout: float
    """Seconds that one run may take."""
    overlap: bool = False
    """Whether one may begin while another one runs; else it is skipped."""
    timezone: str = ""
    """A name of the tz database; empty: that of the machine."""

    def is_due_as(self, other: Cron | None) -> bool:
        """Whether `other` is due at the same times."""
        return other is not None and (self.at, self.timezone) == (other.at, other.timezone)


def load_crons(known: Mapping[str, Mapping[str, Any]]) -> dict[str, Cron]:
    """What `asdict` made of them."""
    return {name: Cron(**one) for name, one in known.items()}
