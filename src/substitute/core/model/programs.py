"""Programs and the processes that they become."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.slots import SlotName


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same pid.

    `start_time` is field 22 of ``/proc/PID/stat`` (clock ticks since boot); `boot_id` is
    ``/proc/sys/kernel/random/boot_id``. No signal is sent on a pid alone.
    """

    pid: int
    start_time: int
    boot_id: str


@dataclass(frozen=True)
class Limits:
    """What an instance may use of the machine; None is as much as there is."""

    memory: int | None = None
    """Bytes. Past them the kernel kills it."""
    cpu: float | None = None
    """Processors: 1.5 is one and a half."""
    tasks: int | None = None
    """Processes and threads."""
    nofile: int | None = None
    """Open files of each process."""


class Protection(StrEnum):
    """A part of the machine that an instance is kept from, by the name of its key in the configuration."""

    NO_NEW_PRIVILEGES = "no_new_privileges"
    PROTECT_SYSTEM = "protect_system"
    PROTECT_KERNEL = "protect_kernel"
    PRIVATE_TMP = "private_tmp"
    PRIVATE_DEVICES = "private_devices"
    RESTRICT_NAMESPACES = "restrict_namespaces"
    RESTRICT_CALLS = "restrict_calls"


@dataclass(frozen=True)
class Program:
    """What a runtime is asked to keep running.

    `command` is one line of shell; where it is a single simple command, it replaces the shell, so that
    signals reach the program itself. `environment` is the whole environment, nothing is inherited.
    """

    name: str
    command: str
    directory: Path
    environment: Mapping[str, str] = field(repr=False)  # may hold secrets
    log: Path
    """Standard output and error are appended here, by the process itself, where the runtime has no log of its own."""
    stop_timeout: float
    """Seconds between SIGTERM and SIGKILL."""
    user: str | None = None
    """Who it runs as; None is who runs the runtime."""
    limits: Limits = field(default_factory=Limits)
    protections: frozenset[Protection] = frozenset(Protection)
    """What it is kept from, where the runtime can do so."""
    notifies: bool = False
    """It says READY=1 when it is (sd_notify)."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What its log lines are marked with, where the runtime's log has a place for that."""


@dataclass(frozen=True)
class Inspection:
    """What a runtime knows of a name, observed now."""

    process: Process | None
    """The running main process, or None."""
    exit: str = ""
    """How the last one ended, in words (``exit status 3``, ``SIGKILL``), or empty."""
    wanted: bool = False
    """The runtime keeps it running, or is about to start it again."""
    ready: bool = True
    """False while a program that notifies has not said that it is."""
    restarts: int | None = None
    """How often it was started again by itself, where the runtime counts."""
    pids: tuple[int, ...] = ()
    """Those of its latest lives, the last one at the end, where the runtime knows them."""


@dataclass(frozen=True)
class Stopped:
    """How an instance ended."""

    killed: bool
    """True where SIGKILL was needed: it, or what it had started, had not exited within its stop timeout."""
    seconds: float
    stayed: str = ""
    """What had to be killed where the main process itself had exited in time: ``node (pid 812)``."""

    @classmethod
    def of(cls, ended: Sequence[Stopped], *, seconds: float) -> Stopped:
        """Several that ended at once, as one: only what was killed for having stayed is told so."""
        killed = [one for one in ended if one.killed]
        stayed = ", ".join(one.stayed for one in killed) if all(one.stayed for one in killed) else ""
        return cls(killed=bool(killed), seconds=seconds, stayed=stayed)

    def in_words(self, slot: SlotName, limit: float) -> str:
        """What was killed, for whom it was killed in; empty where nothing was."""
        if not self.killed:
            return ""
        if not self.stayed:
            return f"Slot {slot} did not exit within {limit:g}s of SIGTERM and was killed."
        return (
            f"The main process of slot {slot} exited, but what it had started did not within {limit:g}s of SIGTERM "
            f"and was killed: {self.stayed}."
        )
