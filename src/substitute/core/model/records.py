"""What the journal remembers, as frozen values."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from substitute.core.model.desired import SERVING, STOPPED
from substitute.core.model.slots import SlotName
from substitute.values import dataclass

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
    """One slot, as it was last left. Endpoints are those its instance was started with, limits those of today."""

    app: str
    name: SlotName
    directory: Path
    endpoints: tuple[Endpoint, ...]
    share: int
    commit: str | None
    intact: bool
    """The files are a finished build of `commit`, so a rollback may start them as they are."""
    process: Process | None
    standby: bool
    """Started by hand beside the live one."""
    drain_timeout: float
    stop_timeout: float
    committed: bool = False
    """What it holds was live once, so recovery may make it live again."""
    version: Version | None = None
    """What it was started with when it was last ready; None where that is not known."""
    instance_name: str = ""
    """Where the process is not called after its slot: a guest's."""

    @property
    def in_use(self) -> bool:
        """Something runs there, or is meant to."""
        return self.process is not None or self.share > 0

    @property
    def instance(self) -> str:
        """The name of its process."""
        return self.instance_name or f"{self.app}_{self.name}"

    @property
    def called(self) -> str:
        """What messages call it: ``slot a``, or the name of a guest."""
        return self.instance_name or f"slot {self.name}"

    @property
    def logs(self) -> str:
        """The command that shows its log."""
        return f"`substitute logs {self.instance_name or self.name}`"


@dataclass(frozen=True)
class AppRecord:
    """One app: which slot is live, and both slots."""

    name: str
    live: SlotName | None
    stopped: bool
    """Stopped by hand with ``stop --force`` or ``down``; `up` respects the former."""
    slots: Mapping[SlotName, SlotRecord]

    @property
    def next_slot(self) -> SlotName:
        """Where the next deployment goes."""
        return self.live.other if self.live else SlotName.A

    @property
    def desired(self) -> Mapping[SlotName, Desired]:
        """What is desired of each slot."""
        serving = None if self.stopped else self.live
        return {name: SERVING if name is serving else STOPPED for name in self.slots}

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
            share=0,
            commit=None,
            intact=False,
            process=None,
            standby=False,
            drain_timeout=app.drain_timeout,
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
