"""Whether the stop signal, which the main process gets, can reach the process that listens, as the processes stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core import advice
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection

    from substitute.core.model.programs import Process
    from substitute.core.ports.observer import Member


@dataclass(frozen=True)
class Barrier:
    """The signal does not reach `app`."""

    main: Member
    """Who gets it."""
    keeper: Member
    """Who does not pass it on: `main`, or one between it and `app`."""
    app: Member
    """Who listens."""

    def cure(self, signal: str) -> str:
        """What to change, so that `signal` arrives."""
        return advice.to_be_reached(self.main, self.keeper, signal)

    @property
    def told(self) -> str:
        """What is known of it."""
        if self.keeper == self.main:
            return f"{self.main} gets it and does not pass it on to {self.app}, which listens"
        return f"{self.main} gets it, and {self.keeper} does not pass it on to {self.app}, which listens"


def barrier(members: Collection[Member], main: Process) -> Barrier | None:
    """What keeps the stop signal from the process that listens; None where nothing is known to.

    A process without a handler ends, and its children are not told: so does a shell. One that has a handler may pass
    the signal on to its child.
    """
    by_pid = {member.process.pid: member for member in members}
    first = by_pid.get(main.pid)
    listeners = [member for member in members if member.listens]
    if first is None or not listeners or first in listeners:
        return None
    for app in listeners:
        path = _path(app, first, by_pid)
        keeper = next((one for one in path if not one.handles_signal), None)
        if keeper:
            return Barrier(first, keeper, app)
    return None


def _path(app: Member, main: Member, by_pid: dict[int, Member]) -> list[Member]:
    """The processes from `main` down to the parent of `app`; only `main`, where they can't be followed."""
    path: list[Member] = []
    above = by_pid.get(app.parent or 0)
    while above and above not in path:
        path.insert(0, above)
        if above == main:
            return path
        above = by_pid.get(above.parent or 0)
    return [main]
