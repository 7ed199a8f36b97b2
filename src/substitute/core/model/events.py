"""What happens while a command runs, as data. Only the console turns it into text or JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from substitute.core.model.findings import ShutdownReport
    from substitute.core.model.slots import Phase, SlotName


@dataclass(frozen=True)
class Event:
    """Base of all events; `event` is the name in ``--json``, the fields are its keys."""

    event: ClassVar[str]


@dataclass(frozen=True)
class PhaseStarted(Event):
    """A phase of a deployment begins."""

    event = "phase"
    phase: Phase
    app: str
    slot: SlotName
    deployment: int


@dataclass(frozen=True)
class PhaseFinished(Event):
    """A phase ended well, after `seconds`."""

    event = "phase_finished"
    phase: Phase
    app: str
    slot: SlotName
    deployment: int
    seconds: float


@dataclass(frozen=True)
class Output(Event):
    """A line that a build, a hook or the starting instance wrote."""

    event = "output"
    phase: str
    """A phase, or ``hook:NAME``."""
    line: str


@dataclass(frozen=True)
class Resolved(Event):
    """The commit that was chosen, and why."""

    event = "resolved"
    app: str
    slot: SlotName
    commit: str
    subject: str
    how: str
    """As ``branch main of origin``."""
    operation: str
    """``deploy``, ``rollback``, ``restart`` or ``check``."""


@dataclass(frozen=True)
class Notice(Event):
    """Something worth a line that is no phase: what `settle` mended, what was found on the way."""

    event = "notice"
    message: str


@dataclass(frozen=True)
class Warned(Event):
    """Something that the user should change, and that stops nothing."""

    event = "warning"
    message: str


@dataclass(frozen=True)
class Drained:
    """What became of the requests that the old instance had when its traffic was taken away."""

    finished: int = 0
    cut: int = 0
    """Not answered to their end, as the balancer saw it: rather too many than too few.

    Where it can't tell, or the instance had to be killed: all that were under way at SIGTERM.
    """
    at_sigterm: int = 0
    """Still under way when SIGTERM was sent; it may have finished them after it."""
    connections: bool = False
    """All these are open connections: this balancer can't tell requests."""
    handed_over: bool = False
    """It still has some: a background process waits for them, and stops it then."""


@dataclass(frozen=True)
class Succeeded(Event):
    """The candidate is live and the old instance is gone."""

    event = "succeeded"
    app: str
    live: SlotName
    commit: str
    previous: str | None
    seconds: Mapping[str, float]
    """By phase (without ``commit``), and ``total``."""
    drained: Drained


@dataclass(frozen=True)
class Unchanged(Event):
    """What was to be deployed is live already, and was left alone."""

    event = "unchanged"
    app: str
    live: SlotName
    commit: str

    @property
    def message(self) -> str:
        """It in a line."""
        return f"Nothing changed: {self.commit[:10]} is live in slot {self.live} of {self.app}. Nothing was deployed."


@dataclass(frozen=True)
class Checked(Event):
    """A check saw how the app stops; its instance is gone again."""

    event = "checked"
    app: str
    slot: SlotName
    commit: str
    live: SlotName | None
    """What serves, as before; None where nothing is live, or it was stopped by hand."""
    report: ShutdownReport

    @property
    def message(self) -> str:
        """What came out, in one line."""
        return self.report.reason or "It takes SIGTERM as it should."


@dataclass(frozen=True)
class Failed(Event):
    """The deployment failed, and `live` (or nothing) serves."""

    event = "failed"
    app: str
    phase: str
    reason: str
    live: SlotName | None
    commit: str | None


@dataclass(frozen=True)
class Interrupted(Event):
    """The deployment was interrupted before its commit, and `live` (or nothing) serves."""

    event = "interrupted"
    app: str
    phase: str
    reason: str
    live: SlotName | None
    commit: str | None


Emit = Callable[[Event], None]
"""Takes an event; must never raise."""
