"""The nouns of a deployment: slots, their states, and where they answer."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from substitute.values import dataclass

if TYPE_CHECKING:
    from pathlib import Path


class SlotName(StrEnum):
    """The two places that a version of an app can run in."""

    A = "a"
    B = "b"

    @property
    def other(self) -> SlotName:
        """The slot that a deployment goes to while this one is live."""
        return SlotName.B if self is SlotName.A else SlotName.A


class SlotState(StrEnum):
    """What a slot is doing, as ``status`` observes it."""

    LIVE = "live"
    """Runs and gets all new requests."""
    CANDIDATE = "candidate"
    """Belongs to a deployment that is under way."""
    DRAINING = "draining"
    """Gets no new requests and finishes those it has."""
    STANDBY = "standby"
    """Runs without traffic because somebody started it by hand."""
    HELD = "held"
    """Is ready, and waits for ``promote`` or ``abort``."""
    IDLE = "idle"
    """Nothing runs."""
    FAILED = "failed"
    """Should be live, and does not run, or does not listen on its port."""


class Phase(StrEnum):
    """The steps of a deployment, in their order; and the one that a check has of its own."""

    UPDATE = "update"
    BUILD = "build"
    RELEASE = "release"
    """Only where the app has `release` commands, and the commit is not live already."""
    SWITCH = "switch"
    """Only where no two versions may run at once: requests wait in the balancer, and the old version ends."""
    START = "start"
    READY = "ready"
    WARM = "warm"
    """Only where `health.warm` names pages: they are asked for before there is any traffic."""
    REPLAY = "replay"
    """Only where `replay.last` says so, and not in a rollback: both versions are asked what clients asked lately."""
    WORKERS = "workers"
    """Only where an app has processes beside ``web``: they go from one version to the other."""
    RELOAD = "reload"
    """Only where something of the balancer is new, as its first sight of an app, and needs it."""
    ADMIT = "admit"
    VERIFY = "verify"
    CANARY = "canary"
    """In the place of ``verify`` where `canary.steps` says so: clients come to the candidate step by step."""
    COMMIT = "commit"
    DRAIN = "drain"
    STOP = "stop"
    CHECK = "check"
    """The candidate of ``substitute check`` gets SIGTERM and is watched."""


@dataclass(frozen=True)
class Endpoint:
    """A host and a TCP port."""

    host: str
    port: int

    def __lt__(self, other: Endpoint) -> bool:
        return (self.host, self.port) < (other.host, other.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Slot:
    """A directory and the endpoints that its instance listens on."""

    name: SlotName
    directory: Path
    endpoints: tuple[Endpoint, ...]
    clustered: bool = False
    """A cluster keeps what runs there: all endpoints, one of each of its nodes, are those of one workload."""
