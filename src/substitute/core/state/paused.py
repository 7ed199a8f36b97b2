"""Crons that a person has paused: facts in the journal, until somebody resumes them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from substitute.values import asdict, dataclass

if TYPE_CHECKING:
    from substitute.core.state.journal import Journal


@dataclass(frozen=True)
class Pause:
    """All crons of an app, or one of them, are paused or were resumed."""

    by: str
    since: float
    paused: bool = True
    """False: resumed then. What was due before was not missed."""
    of_all: bool = False
    """It is of all crons of the app."""

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"paused by {self.by} since {since}"


def noted(journal: Journal, app: str, cron: str) -> list[Pause]:
    """What was noted last of the cron itself, and of all crons of `app`."""
    return [found for one in (cron, "") if (found := own(journal, app, one))]


def pause_of(journal: Journal, app: str, cron: str) -> Pause | None:
    """Why the cron is paused, or None."""
    return next((one for one in noted(journal, app, cron) if one.paused), None)


def resumed(journal: Journal, app: str, cron: str, *, until: float) -> float:
    """When it was resumed last, not after `until`; 0 where it never was paused."""
    return max((one.since for one in noted(journal, app, cron) if one.since <= until), default=0.0)


def note(journal: Journal, app: str, cron: str, pause: Pause) -> None:
    """Note a pause, or its end, of the cron; empty: of all crons of `app`."""
    journal.remember(_fact(app, cron), json.dumps(asdict(pause)))


def own(journal: Journal, app: str, cron: str) -> Pause | None:
    """What was noted last of the cron itself; empty: of all crons of `app`."""
    known = journal.fact(_fact(app, cron))
    return Pause(**json.loads(known)) if known else None


def _fact(app: str, cron: str) -> str:
    return f"paused:{app}:{cron}"
