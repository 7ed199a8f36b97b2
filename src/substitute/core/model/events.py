"""What happens while a command runs, as data. Only the console turns it into text or JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

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
    """A phase, ``hook:NAME``, ``run-7``, or ``cron-NAME``."""
    line: str


@dataclass(frozen=True)
class RunBegan(Event):
    """A command of `run`, or of a cron that was started by hand, is about to begin. Its lines follow as `Output`."""

    event = "run"
    run: str
    """Its name, as ``run-7``."""
    app: str
    slot: SlotName


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

    Where it can't tell, or the instance had to be killed: all that were under way when it was told to stop.
    """
    at_sigterm: int = 0
    """Still under way when it was told to stop; it may have finished them then."""
    streams: int = 0
    """WebSockets and event streams that were ended in waves. They are neither finished nor cut: no request failed."""
    connections: bool = False
    """All these are open connections: this balancer can't tell requests."""
    handed_over: bool = False
    """It still has some, or a worker of it a job: a background process waits, and stops it then unless it stands by."""
    stands_by: bool = False
    """It runs on without new requests, and finishes what it has: nobody counts."""


@dataclass(frozen=True)
class Difference:
    """A page that the candidate answers otherwise than the live version, at a second look too."""

    path: str
    host: str
    """The Host header with which it was asked for."""
    live: str
    """``200``, or ``12 ms`` where the time is what differs."""
    candidate: str

    @property
    def told(self) -> str:
        """One line for people."""
        return f"{self.path}: {self.live} → {self.candidate}"


@dataclass(frozen=True)
class Replayed(Event):
    """Both versions were asked for pages that clients asked for lately."""

    event = "replayed"
    app: str
    slot: SlotName
    """The candidate's."""
    compared: int
    unanswered: int
    """Those that the live version does not answer either, or with a 5xx: they show nothing."""
    left_out: int
    """Those for which there was no time."""
    differences: tuple[Difference, ...]

    @property
    def message(self) -> str:
        """One line for people."""
        differ = f"{len(self.differences)} differ" if self.differences else "none differs"
        text = f"{self.compared} pages that clients asked for lately were compared with the live version: {differ}."
        if self.unanswered:
            text += f" {self.unanswered} more show nothing, since the live version fails them."
        if self.left_out:
            text += f" For {self.left_out} there was no time (app.{self.app}.replay.timeout)."
        return text


@dataclass(frozen=True)
class Seen:
    """What one version answered to clients since a canary began."""

    requests: int
    failures: int
    """Answers with 5xx, and those that it broke off."""
    per_second: float
    """Requests, since the event before."""
    p95: float | None
    """Seconds until an answer began; None without answers."""


@dataclass(frozen=True)
class Stepped(Event):
    """From now on a candidate meets this share of the clients."""

    event = "step"
    app: str
    slot: SlotName
    share: int
    """Percent."""
    seconds: float
    """For how long."""


@dataclass(frozen=True)
class Compared(Event):
    """How a canary goes."""

    event = "canary"
    app: str
    slot: SlotName
    """The candidate's."""
    share: int
    """Percent of the clients that come to it."""
    left: float
    """Seconds for which they do."""
    live: Seen
    candidate: Seen


@dataclass(frozen=True)
class Judged(Event):
    """How a canary ended."""

    event = "verdict"
    app: str
    slot: SlotName
    message: str
    verdict: Mapping[str, Any]
    """`end` is ``no worse``, ``worse`` or ``too little traffic to tell``; and the numbers behind it."""


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
class Held(Event):
    """The candidate is ready, and waits for a person: it gets no requests but those that name `token`."""

    event = "held"
    app: str
    slot: SlotName
    commit: str
    live: SlotName | None
    until: float
    """When it is aborted, in seconds since the epoch."""
    token: str
    links: tuple[str, ...]
    """By which a browser gets it; empty where the balancer can't tell who asks."""


@dataclass(frozen=True)
class Unchanged(Event):
    """What was to be deployed is live already, and was left alone."""

    event = "unchanged"
    app: str
    live: SlotName
    commit: str
    """The live one."""
    chosen: str = ""
    """The one that was to be deployed."""
    watched: tuple[str, ...] = ()
    """Where nothing differs between the two."""
    went_back: bool = False
    """It was to be gone back to, and that was done before: what was live did not answer."""

    @property
    def message(self) -> str:
        """One line for people."""
        live = f"{self.commit[:10]} is live in slot {self.live} of {self.app}."
        if self.went_back:
            return f"{live} That is the version to go back to: nothing else was changed."
        if self.chosen in {"", self.commit}:
            return f"Nothing changed: {live} Nothing was deployed."
        where = ", ".join(self.watched)
        return (
            f"Nothing changed: {self.chosen[:10]} changes nothing in {where}. {live} Nothing was deployed; "
            "`--force` deploys it all the same."
        )


@dataclass(frozen=True)
class Announced(Event):
    """Several apps are deployed, one after the other."""

    event = "announced"
    apps: tuple[str, ...]
    """Those that are deployed, in their order."""
    unchanged: tuple[str, ...]
    """Those that are left alone."""

    @property
    def message(self) -> str:
        """One line for people."""
        if not self.apps:
            return "Nothing is deployed."
        left = f" Left alone: {', '.join(self.unchanged)}." if self.unchanged else ""
        return f"Deploying {', then '.join(self.apps)}.{left}"


@dataclass(frozen=True)
class Halted(Event):
    """One of several deployments failed: those before it stay live, and those after it are not begun."""

    event = "halted"
    app: str
    """The one that failed."""
    deployed: tuple[str, ...]
    not_begun: tuple[str, ...]

    @property
    def message(self) -> str:
        """One line for people."""
        before = f" Deployed before it, and live: {', '.join(self.deployed)}." if self.deployed else ""
        after = f" Not begun: {', '.join(self.not_begun)}." if self.not_begun else ""
        return f"The deployment of {self.app} has failed.{before}{after}"


@dataclass(frozen=True)
class Locked(Event):
    """Somebody has locked deployments."""

    event = "locked"
    app: str | None
    """None: of all apps."""
    text: str
    """The reason."""
    by: str
    since: float

    @property
    def message(self) -> str:
        """One line for people."""
        return f"Deployments of {self.app or 'all apps'} are locked: {self.text}"


@dataclass(frozen=True)
class Unlocked(Locked):
    """Deployments are allowed again. The fields are those of the lock that was there."""

    event = "unlocked"

    @property
    def message(self) -> str:
        """One line for people."""
        return f"Deployments of {self.app or 'all apps'} are unlocked. {self.by} had locked them: {self.text}"


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
        return self.report.reason or f"It takes {self.report.signal} as it should."


@dataclass(frozen=True)
class Failed(Event):
    """The deployment failed, and `live` (or nothing) serves."""

    event = "failed"
    app: str
    phase: str
    reason: str
    live: SlotName | None
    commit: str | None
    stays: str = ""
    """What somebody should know of its `release`, which may have changed a database; empty where none had begun."""


@dataclass(frozen=True)
class Interrupted(Event):
    """The deployment was interrupted before its commit, and `live` (or nothing) serves."""

    event = "interrupted"
    app: str
    phase: str
    reason: str
    live: SlotName | None
    commit: str | None
    stays: str = ""
    """What somebody should know of its `release`, which may have changed a database; empty where none had begun."""


Emit = Callable[[Event], None]
"""Takes an event; must never raise."""
