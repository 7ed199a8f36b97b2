"""What is deployed, and how it wants to be treated. Times are seconds."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from substitute.core.model.app_settings import (
    AppImage,
    Build,
    Canary,
    Drain,
    Release,
    Replay,
    Secrets,
    Standby,
    Trials,
    Verify,
)
from substitute.core.model.health import RUNS, Health
from substitute.core.model.instances import WEB
from substitute.core.model.programs import SIGTERM, Limits, Protection
from substitute.values import dataclass, field, replace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.core.model.crons import Cron
    from substitute.core.model.slots import Slot, SlotName


class Order(StrEnum):
    """Which of the two versions of a process runs while one takes the place of the other."""

    START_FIRST = "start-first"
    """Both, for a moment."""
    STOP_FIRST = "stop-first"
    """Neither: the old one is gone before the new one starts. Nothing of it ever runs twice."""


@dataclass(frozen=True)
class ProcessType:
    """A process of an app beside ``web``, and what it has of its own. It answers no requests."""

    start: str
    """Empty: as the Procfile says."""
    instances: int
    order: Order
    health: Health
    stop_timeout: float
    user: str | None
    limits: Limits
    env: Mapping[str, str]
    """That of the app, and its own."""
    stop_signal: str = SIGTERM
    background: bool = False
    """The old version's instances finish their job behind the deployment."""
    configured: bool = True
    """False: only the Procfile names it."""


@dataclass(frozen=True)
class App:
    """One app, resolved: every path absolute, every default filled in.

    Equal to a table ``[app.NAME]`` of substitute.toml, whose reader documents each key.
    """

    name: str
    root: Path
    repo: str
    """Empty where versions come from archives."""
    branch: str | None
    clean: bool
    """Each update removes what the commit does not have."""
    start: str
    """Empty where it is not configured: then the Procfile of each version says it."""
    slots: Mapping[SlotName, Slot]
    domains: tuple[str, ...]
    env: Mapping[str, str]
    """Of substitute.toml itself: no secrets. It wins over `secrets`."""
    health: Health
    drain: Drain
    stop_timeout: float
    hooks_timeout: float
    build: Build = field(default_factory=Build)
    release: Release = field(default_factory=Release)
    verify: Verify = field(default_factory=Verify)
    order: Order = Order.START_FIRST
    """Of ``web``. Stop-first: requests wait in the balancer while neither version runs."""
    hold: float = 30.0
    """Seconds that a request waits then, at most."""
    standby: Standby = field(default_factory=Standby)
    replay: Replay = field(default_factory=Replay)
    canary: Canary = field(default_factory=Canary)
    assets: tuple[str, ...] = ()
    """Paths, each with a ``/`` at its end: a GET below them that one version answers with 404 is asked of the other."""
    stop_signal: str = SIGTERM
    """By what an instance is told to finish and exit, one of `programs.STOP_SIGNALS`."""
    shared: tuple[str, ...] = ()
    """Paths in its directory that lead to what both slots have in common; a directory's may end with ``/``."""
    procfile: Mapping[str, str] = field(default_factory=dict)
    """What the Procfile of the version at hand says, by the types of its processes, once the slot has the version's
    files. `start` has its ``web`` where it is not configured; ``release`` and the others are taken from here."""
    directory: str = ""
    """Where in the repository it lives; empty: at its top."""
    watch: tuple[str, ...] = ()
    """Paths of the repository. A commit that changes nothing there is not deployed."""
    user: str | None = None
    source: str = "git"
    """What versions come from: ``git``, ``archive`` or ``image``."""
    releases: int = 2
    """How many versions are kept as they were built."""
    notifies: bool = False
    limits: Limits = field(default_factory=Limits)
    protections: frozenset[Protection] = frozenset(Protection)
    processes: Mapping[str, ProcessType] = field(default_factory=dict)
    """Those beside ``web``, by name. What ``web`` is started with are the app's own settings."""
    crons: Mapping[str, Cron] = field(default_factory=dict)
    """Commands that run at fixed times, by name."""
    trials: Trials = field(default_factory=Trials)
    secrets: Secrets = field(default_factory=Secrets)
    pass_env: tuple[str, ...] = ()
    """Variables of whoever deploys that builds and hooks get."""
    image: AppImage = field(default_factory=AppImage)
    replicas: int = 1
    """How many of it run in a slot that a cluster keeps."""
    remembered: bool = False
    """Made from the journal, since substitute.toml does not say (see `core.state.remembered`): nothing can be built."""
    removed: bool = False
    """It is not in substitute.toml any more."""

    def of(self, process_type: str) -> App:
        """The app with the settings of that process in the place of those of ``web``."""
        if process_type == WEB:
            return self
        own = self.processes[process_type]
        return replace(
            self,
            start=own.start,
            health=own.health,
            stop_timeout=own.stop_timeout,
            stop_signal=own.stop_signal,
            user=own.user,
            limits=own.limits,
            env=own.env,
            notifies=False,
        )

    def with_processes(self, commands: Mapping[str, str]) -> App:
        """The app with the processes that a Procfile names, and its command for each that says none itself."""
        found = {
            name: replace(one, start=one.start or commands.get(name, ""))
            for name, one in self.processes.items()
        }
        for name in commands.keys() - found.keys():
            found[name] = ProcessType(
                start=commands[name],
                instances=1,
                order=Order.STOP_FIRST,
                health=RUNS,
                stop_timeout=self.stop_timeout,
                user=self.user,
                limits=Limits(),
                env=self.env,
                configured=False,
            )
        return replace(self, processes=found)

    def with_image(self, id: str) -> App:  # noqa: A002  # as its field is called
        """The app with that image for the version at hand."""
        return replace(self, image=replace(self.image, id=id))

    def with_secrets(self, values: Mapping[str, str]) -> App:
        """The app with the values that its sources of secrets gave."""
        return replace(self, secrets=replace(self.secrets, values=values))

    @property
    def is_contained(self) -> bool:
        """Whether its versions are images, which run in containers."""
        return bool(self.image.name or self.image.dockerfile or self.image.id)

    @property
    def is_pushed(self) -> bool:
        """Whether its image is built here, and run elsewhere: a registry has it in between."""
        return bool(self.image.name and self.image.dockerfile)

    def image_of(self, commit: str) -> str:
        """What the image of `commit` is called in its registry."""
        return self.image.name.replace("{commit}", commit)

    @property
    def is_clustered(self) -> bool:
        """Whether a cluster keeps what runs in its slots."""
        return any(slot.clustered for slot in self.slots.values())

    @property
    def runs_once(self) -> bool:
        """Whether no two versions of it may run at the same time."""
        return self.order is Order.STOP_FIRST

    def full_name(self, slot: SlotName) -> str:
        """``shop_a``."""
        return f"{self.name}_{slot}"

    def is_own_place(self, name: str) -> bool:
        """Whether a directory of that name was made for one version: ``shop_12``."""
        numbers = name.removeprefix(f"{self.name}_").split("_")
        return name.startswith(f"{self.name}_") and all(number.isdecimal() for number in numbers)

    @property
    def state_directory(self) -> Path:
        """Where the app's logs, hooks and ``next_deploy`` are kept."""
        return self.root / "deploy" / self.name

    @property
    def log_directory(self) -> Path:
        """Where the instances' and the deployments' logs are."""
        return self.state_directory / "log"

    @property
    def shared_directory(self) -> Path:
        """Where what both slots have in common is kept."""
        return self.state_directory / "shared"

    @property
    def current_link(self) -> Path:
        """The link to the live slot's directory, for people and scripts."""
        return self.root / f"{self.name}_current"
