"""A lock that a person has put on deployments, with the reason. It stays until somebody takes it away: a fact."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from substitute.core.model.errors import LockedError
from substitute.values import asdict, dataclass

if TYPE_CHECKING:
    from substitute.core.state.journal import Journal


@dataclass(frozen=True)
class HandLock:
    """Who refuses deployments, since when (seconds since the epoch), and why."""

    text: str
    by: str
    since: float
    app: str | None = None
    """The app that it is for; None: all apps of the root."""

    @property
    def unlock(self) -> str:
        """The command that takes it away."""
        return f"substitute unlock -a {self.app}" if self.app else "substitute unlock"

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"locked by {self.by} since {since}: {self.text}"


def locks_on(journal: Journal, app: str) -> list[HandLock]:
    """Those that hold for `app`: its own, and that of all apps."""
    return [found for one in (app, None) if (found := read(journal, one))]


def read(journal: Journal, app: str | None) -> HandLock | None:
    """The lock of `app` alone, or of all; None where there is none."""
    known = journal.fact(_fact(app))
    return HandLock(**json.loads(known)) if known else None


def put(journal: Journal, lock: HandLock) -> None:
    """Put a lock. Raises LockedError where there is one, whose reason nobody may lose."""
    if known := read(journal, lock.app):
        whose = f"Deployments of {lock.app}" if lock.app else "All deployments"
        raise LockedError(f"{whose} are {known}", cure=f"`{known.unlock}` takes that away.")
    journal.remember(_fact(lock.app), json.dumps(asdict(lock)))


def take_away(journal: Journal, app: str | None) -> HandLock | None:
    """Take the lock of `app`, or of all, away; None where there was none."""
    found = read(journal, app)
    if found:
        journal.forget(_fact(app))
    return found


def require_unlocked(journal: Journal, app: str) -> None:
    """Raise LockedError where deployments of `app` are locked."""
    if locks := locks_on(journal, app):
        unlock = " and ".join(f"`{lock.unlock}`" for lock in locks)
        takes = "take them" if locks[1:] else "takes that"
        raise LockedError(
            f"Deployments of {app} are {locks[0]}",
            fact="\n".join(f"  and {lock}" for lock in locks[1:]),
            serves="Nothing was changed.",
            cure=f"{unlock} {takes} away. `substitute rollback` goes all the same.",
        )


def _fact(app: str | None) -> str:
    return f"locked:{app}" if app else "locked"
