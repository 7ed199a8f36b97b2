"""What became of a command on a host."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from substitute.hosts.errors import RefusedError, SilentHostError, UnreachableError
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from substitute.hosts.errors import HostError


class State(StrEnum):
    """What is known of a host when a command is over."""

    SUCCEEDED = "succeeded"
    UNCHANGED = "unchanged"
    """It had what it was to get, and was left alone."""
    HELD = "held"
    """It is ready, and waits for `promote` or `abort`; what was live is live."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    """It is locked, or has not what it needs: nothing was begun there."""
    UNREACHABLE = "unreachable"
    """Nothing was begun there."""
    UNKNOWN = "unknown"
    """The connection was lost, and nobody could be asked since."""
    NOT_BEGUN = "not begun"

    @property
    def is_good(self) -> bool:
        """Whether the host has what it was to get."""
        return self in {State.SUCCEEDED, State.UNCHANGED, State.HELD}

    @property
    def has_ended(self) -> bool:
        """Whether the command has come to an end there, whichever."""
        return self in {State.SUCCEEDED, State.HELD, State.FAILED, State.INTERRUPTED}

    @property
    def has_begun(self) -> bool:
        """Whether anything may have changed there."""
        return self not in {State.REFUSED, State.UNREACHABLE, State.NOT_BEGUN, State.UNCHANGED}


@dataclass(frozen=True)
class Outcome:
    """What became of it on one host."""

    host: str
    state: State
    exit: int | None = 0
    """The exit status there; None where that is not known."""
    reason: str = ""
    cure: str = ""
    live: str | None = None
    """The slot that is live there now, as far as is known."""
    commit: str | None = None
    """The commit that is live there now, as far as is known."""
    seconds: float | None = None
    """How long the deployment there took."""
    deployment: int | None = None
    result: Any = None
    """The document that it printed there, where it prints one, as `check` does."""

    def document(self) -> dict[str, Any]:
        """It as JSON; with `result` where there is one."""
        found = {**vars(self), "state": str(self.state)}
        if self.result is None:
            del found["result"]
        return found


def not_begun(host: str, error: HostError) -> Outcome:
    """That a host could not be asked, or has refused, before anything had begun there."""
    if isinstance(error, UnreachableError | SilentHostError):
        return Outcome(host, State.UNREACHABLE, 1, error.reason, error.cure)
    status = error.status if isinstance(error, RefusedError) else 1
    return Outcome(host, State.REFUSED, status, error.reason, error.cure)


_SEVEREST = (4, 70, 1, 130, 3, 2)
"""What is told of several exit statuses: that nothing serves somewhere is worse than that nothing was begun."""


def exit_status(outcomes: Iterable[Outcome]) -> int:
    """The exit status of a command on several hosts: the worst of theirs. A host that is not known is a failure."""
    found = {
        _STATUS.get(one.state, 1) if one.exit in {0, None} else one.exit
        for one in outcomes
        if not one.state.is_good
    }
    found -= {0} if len(found) > 1 else set()
    if not found:
        return 0
    return next((status for status in _SEVEREST if status in found), max(status or 0 for status in found))


_STATUS = {State.NOT_BEGUN: 0, State.INTERRUPTED: 130}
