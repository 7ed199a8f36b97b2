"""What is deployed, and how it wants to be treated. Times are seconds."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from substitute.core.model.programs import Limits, Protection
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.core.model.slots import Slot, SlotName


@dataclass(frozen=True)
class Health:
    """When an instance counts as ready: `successes` good answers in a row."""

    kind: str
    """``http`` or ``tcp``."""
    path: str
    host: str | None
    timeout: float
    interval: float
    successes: int


@dataclass(frozen=True)
class Trials:
    """Paths of requests that are under way when a check sends SIGTERM; without any, the health check's is tried."""

    slow: str | None = None
    """Its answer takes its time in the app."""
    large: str | None = None
    """Its answer is large, and is read late."""
    upload: str | None = None
    """It takes a POST, whose body is held back."""


@dataclass(frozen=True)
class App:
    """One app, resolved: every path absolute, every default filled in.

    Equal to a table ``[app.NAME]`` of substitute.toml, whose reader documents each key.
    """

    name: str
    root: Path
    repo: str
    branch: str | None
    build: tuple[str, ...]
    build_timeout: float
    """For all of `build` together, and for each call of the source's program."""
    clean: bool
    start: str
    slots: Mapping[SlotName, Slot]
    domains: tuple[str, ...]
    env: Mapping[str, str]
    """Of substitute.toml itself: no secrets. It wins over `secrets`."""
    health: Health
    drain_timeout: float
    stop_timeout: float
    verify_for: float
    verify_share: int
    """Percent of the new requests that the candidate gets during `verify`."""
    hooks_timeout: float
    user: str | None = None
    notifies: bool = False
    limits: Limits = field(default_factory=Limits)
    protections: frozenset[Protection] = frozenset(Protection)
    trials: Trials = field(default_factory=Trials)
    env_file: str | None = None
    """As it is written: relative to the root."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What ``env_file`` says."""
    env_file_problem: str = ""
    """Why ``env_file`` cannot be used; then what it says is not known, and nothing may be started without it."""
    remembered: bool = False
    """Made from the journal, since substitute.toml does not say (see `core.state.remembered`): nothing can be built."""
    removed: bool = False
    """It is not in substitute.toml any more."""

    def instance(self, slot: SlotName) -> str:
        """Name the process of `slot`: ``shop_a``."""
        return f"{self.name}_{slot}"

    @property
    def state_directory(self) -> Path:
        """Where the app's logs, hooks and ``next_deploy`` are kept."""
        return self.root / "deploy" / self.name

    @property
    def log_directory(self) -> Path:
        """Where the instances' and the deployments' logs are."""
        return self.state_directory / "log"

    @property
    def current_link(self) -> Path:
        """The link to the live slot's directory, for people and scripts."""
        return self.root / f"{self.name}_current"
