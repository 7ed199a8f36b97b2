"""What the journal remembers, as frozen values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.core.model.desired import HELD, SERVING, STANDBY, STOPPED
from substitute.core.model.instances import WEB, InstanceRecord, web_instances
from substitute.core.model.programs import SIGTERM
from substitute.core.model.slots import SlotName
from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.core.model.apps import App
    from substitute.core.model.desired import Desired
    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint
    from substitute.core.model.versions import Version


@dataclass(frozen=True)
class SlotRecord:
    """One slot, as it was last left. Endpoints are those its instances were started with, limits those of today."""

    app: str
    name: SlotName
    directory: Path
    endpoints: tuple[Endpoint, ...]
    """Where its web instances listen."""
    share: int
    commit: str | None
    intact: bool
    """The files are a finished build of `commit`, so a rollback may start them as they are."""
    standby: bool
    """It runs without requests: it was live before, or somebody started it by hand."""
    drain_timeout: float
    stop_timeout: float
    committed: bool = False
    """What it holds was live once, so recovery may make it live again."""
    version: Version | None = None
    """What it was started with when it was last ready; None where that is not known."""
    started: tuple[InstanceRecord, ...] = ()
    """The instances that were started here, or were about to be, and are not known to be gone."""
    standby_until: float | None = None
    """Seconds since the epoch, infinity for ever: so long what was live before stays. None: it is not to stay."""
    clustered: bool = False
    """As the slot's."""

    def place(self, app: App) -> Path:
        """Where in it `app` is built and started."""
        return self.directory / app.directory

    @property
    def in_use(self) -> bool:
        """Something runs there, or is meant to."""
        return bool(self.started) or self.share > 0

    @property
    def full_name(self) -> str:
        """``shop_a``."""
        return f"{self.app}_{self.name}"

    @property
    def instances(self) -> tuple[InstanceRecord, ...]:
        """All that may run there."""
        return (*self.web, *self.others)

    @property
    def web(self) -> tuple[InstanceRecord, ...]:
        """Its instances that answer requests: those that were started, else those that it would have."""
        started = tuple(one for one in self.started if one.process_type == WEB)
        return started or web_instances(
            self.app, self.name, self.directory, self.endpoints, clustered=self.clustered
        )

    @property
    def others(self) -> tuple[InstanceRecord, ...]:
        """Its instances that answer none: workers."""
        return tuple(one for one in self.started if one.process_type != WEB)

    @property
    def stop_signal(self) -> str:
        """By what its web instances are told to stop: by the signal that they were proven with."""
        return self.version.stop_signal if self.version else SIGTERM

    @property
    def logs(self) -> str:
        """The command that shows its log."""
        return f"`substitute logs {self.name}`"


@dataclass(frozen=True)
class Hold:
    """A candidate that is ready, and waits for a person: ``promote`` or ``abort``."""

    slot: SlotName
    deployment: int
    """The deployment that has brought it up."""
    until: float
    """When it is aborted, in seconds since the epoch."""
    token: str
    """Who sends it gets the candidate."""


@dataclass(frozen=True)
class AppRecord:
    """One app: which slot is live, and both slots."""

    name: str
    live: SlotName | None
    stopped: bool
    """Stopped by hand with ``stop --force`` or ``down``; `up` respects the former."""
    slots: Mapping[SlotName, SlotRecord]
    hold: Hold | None = None
    longest_wait: float | None = None
    """Seconds that a request waits while neither version runs, at most. None: two versions may run side by side."""
    waits_since: float | None = None
    """Since when new requests wait in the balancer for a version that runs, in seconds since the epoch."""

    @property
    def next_slot(self) -> SlotName:
        """Where the next deployment goes."""
        return self.live.other if self.live else SlotName.A

    def desired(self, now: float) -> Mapping[SlotName, Desired]:
        """What is desired of each slot at the time `now`, in seconds since the epoch."""
        return {name: self._desired(slot, now) for name, slot in self.slots.items()}

    def _desired(self, slot: SlotRecord, now: float) -> Desired:
        if self.stopped:
            return STOPPED
        if slot.name is self.live:
            return SERVING
        if self.longest_wait is not None:  # no other version may run beside it
            return STOPPED
        if self.holds(now) is slot:
            return HELD
        if self.live and slot.standby and (slot.standby_until or 0.0) > now:
            return STANDBY
        return STOPPED

    def holds(self, now: float) -> SlotRecord | None:
        """The slot whose version is ready, and waits for a person."""
        return self.slots[self.hold.slot] if self.hold and self.hold.until > now else None

    @property
    def unserved_until(self) -> float | None:
        """Until when something runs that gets no requests, in seconds since the epoch; None where nothing does.

        Where that time is over, it is still to be ended.
        """
        if self.stopped:
            return None
        times = [slot.standby_until for slot in self.slots.values() if slot.standby_until is not None]
        return self.hold.until if self.hold else max(times, default=None)

    def standby(self, now: float) -> SlotRecord | None:
        """The slot whose version was live before, and is to run on without requests."""
        found = (self.slots[name] for name, wanted in self.desired(now).items() if wanted == STANDBY)
        return next(found, None)

    @property
    def spare(self) -> SlotName | None:
        """The slot that is asked for an asset which the one with the requests does not have; None: no other runs."""
        live = self.live_slot
        if live is None:
            return None
        other = self.slots[live.name.other]
        if live.share:
            return other.name if other.share or other.standby_until is not None else None
        return live.name if other.share else None  # a candidate gets all requests

    @property
    def live_slot(self) -> SlotRecord | None:
        """The record of the live slot."""
        return self.slots[self.live] if self.live else None


def unregistered(app: App) -> AppRecord:
    """What is known of an app that was never worked on: its configuration."""
    slots = {
        slot.name: SlotRecord(
            app=app.name,
            name=slot.name,
            directory=slot.directory,
            endpoints=slot.endpoints,
            clustered=slot.clustered,
            share=0,
            commit=None,
            intact=False,
            standby=False,
            drain_timeout=app.drain.timeout,
            stop_timeout=app.stop_timeout,
        )
        for slot in app.slots.values()
    }
    return AppRecord(app.name, live=None, stopped=False, slots=slots)


@dataclass(frozen=True)
class DeploymentRecord:
    """One deployment. Times are seconds since the epoch; no outcome means that it is under way."""

    id: int
    app: str
    operation: str
    slot: SlotName
    commit: str | None
    previous: str | None
    started: float
    finished: float | None
    outcome: str | None
    phase: str
    reason: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    subject: str = ""
    """First line of the commit's message."""
    how: str = ""
    """Why the commit was chosen, as ``branch main of origin``."""
    tag: str = ""
    """A tag that led to it then."""
    user: str = ""
    """Who typed it."""
    release_outcome: str = ""
    """What became of its `release`: ``running``, ``succeeded``, ``failed``, ``interrupted``; empty: it ran none."""
    release_seconds: float | None = None
    release_guard: str = ""
    """``contract``: what its `release` did is not survived by the versions before it."""
    verdict: Mapping[str, Any] | None = None
    """How its canary ended: `end`, `sentence`, and the numbers of both versions."""
    kept: bool = False
    """Its version is there as it was built: a rollback to it builds nothing."""


@dataclass(frozen=True)
class DrillRecord:
    """One drill: load on the front door, and what became of it."""

    app: str
    deployment: int | None
    """The deployment that ran in its middle; None is a baseline, or an operation that did not get that far."""
    operation: str | None
    started: float
    seconds: float
    requests: int
    failed: int
    exit: int
    summary: Mapping[str, Any] = field(default_factory=dict)
    """All figures, as `drill --json` has them; the first failures too."""
    id: int = 0


@dataclass(frozen=True)
class GuestRecord:
    """A process that `start` runs under a name which is no slot."""

    name: str
    directory: Path
    port: int
    command: str
    process: Process | None
    """None until it is started, and after `down`."""
    version: Version | None = None
    """What it was started with."""


@dataclass(frozen=True)
class RunRecord:
    """A command that runs beside the instances of a slot: typed by somebody, or due by a cron."""

    app: str
    slot: SlotName
    command: str
    started: float
    cron: str = ""
    """The name of the cron; empty for what somebody typed."""
    user: str = ""
    """Who typed it."""
    detached: bool = False
    """It goes on when the terminal is closed."""
    due: float | None = None
    """When the cron was due, in seconds since the epoch; None where somebody ran it at once."""
    finished: float | None = None
    outcome: str | None = None
    """None while it runs; ``succeeded``, ``failed``, ``timed out``, ``skipped``, ``missed`` or ``lost``."""
    status: int | None = None
    """Its exit status."""
    process: Process | None = None
    """The leader of its process group; until it is started, who is about to start it."""
    id: int = 0

    @property
    def name(self) -> str:
        """``run-7``: what commands call it."""
        return f"run-{self.id}"
