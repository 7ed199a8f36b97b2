"""Which slot shall serve, as a function of who gives good answers."""

from __future__ import annotations

from enum import Enum

from substitute.values import dataclass


@dataclass(frozen=True)
class Seen:
    """Who gives good answers. What is decided depends on nothing else."""

    live: bool
    """The live slot does."""
    other: bool
    """The other one does, and no person is to decide about it."""
    other_may: bool
    """The other one was live before and still gets requests: it may be live again at once."""
    down: str = ""
    """Why the live one could not be started again, where that was tried."""


class Step(Enum):
    """What brings the world nearer to what is desired."""

    SERVE = "The live slot answers: it gets the requests."
    GO_BACK = "The other slot answers, and the live one does not: the other one is live again."
    REVIVE = "Nobody can take over: the live slot is started again."
    REPORT = "Nobody answers, and nothing can be done about it here."


def decide(seen: Seen) -> Step:
    """Choose the slot that shall serve, so that the last one that answers is never taken out of the balancer.

    One that was never live takes the place only of one that cannot be started again.
    """
    if seen.live:
        return Step.SERVE
    if seen.other and (seen.other_may or seen.down):
        return Step.GO_BACK
    return Step.REPORT if seen.down else Step.REVIVE
