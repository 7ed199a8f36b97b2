"""Programs and the processes that they become."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.health import Health
    from substitute.core.model.slots import Endpoint

SIGTERM = "SIGTERM"
STOP_SIGNALS = (SIGTERM, "SIGQUIT", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH")
"""By which of them a program may be told to finish its work and exit."""


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for a later one with the same pid.

    `start_time` is field 22 of ``/proc/PID/stat`` (clock ticks since boot); `boot_id` is
    ``/proc/sys/kernel/random/boot_id``. No signal is sent on a pid alone.

    What a cluster keeps is many processes, which come and go on other machines. As one it is known by the uid of its
    workload and by when that was started: then `boot_id` holds the uid and `start_time` the time, and `pid` is 0,
    which no process has.
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


@dataclass(frozen=True)
class BuildLimits:
    """What a build may use, which runs beside the version that serves."""

    nice: int = 10
    """Added to the niceness of who deploys."""
    cpu_weight: int = 20
    """Of 1 to 10000; everything else on the machine has 100."""
    io_weight: int = 20
    memory: int | None = None
    """Bytes, for all its processes together. Past them the kernel kills one."""
    cpu: float | None = None
    """Processors: 1.5 is one and a half."""

    @property
    def needs_a_group(self) -> bool:
        """Whether niceness is not all of it."""
        return self != BuildLimits(self.nice, 100, 100)


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
class Mount:
    """A file or a directory of this machine that a container sees at a place of its own."""

    source: Path
    target: Path
    """Absolute."""


@dataclass(frozen=True)
class Container:
    """What a program runs in, where that is not this machine itself."""

    image: str
    """The id of an image that the engine of this machine has (``sha256:…``). What a tag means may change."""
    mounts: tuple[Mount, ...] = ()
    published: Mapping[Endpoint, int] = field(default_factory=dict)
    """The port inside that each endpoint leads to; without any it is on this machine's own network."""
    limits: Limits = field(default_factory=Limits)
    """What a command in it may use. An instance has those of its program."""


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
    """Seconds between `stop_signal` and SIGKILL."""
    stop_signal: str = SIGTERM
    user: str | None = None
    """Who it runs as; None is who runs the runtime."""
    limits: Limits = field(default_factory=Limits)
    protections: frozenset[Protection] = frozenset(Protection)
    """What it is kept from, where the runtime can do so."""
    notifies: bool = False
    """Its runtime knows when it is ready: the program says READY=1 to it (sd_notify), or a cluster asks it itself."""
    delegates: bool = False
    """It makes control groups of its own below its own, where the runtime gives it one."""
    stop_command: tuple[str, ...] = ()
    """What is executed to have it stop, before `stop_signal`, where the runtime can do that: a signal to the main
    process would not come to who has to know."""
    outlived: bool = False
    """What it has started in sessions of their own goes on when it ends."""
    container: Container | None = None
    """What it runs in. Then an empty `command` is what the image runs by itself, another one is given to the image's
    entrypoint; `directory` is none that the program sees, and `user` is one of the image's."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What its log lines are marked with, where the runtime's log has a place for that."""
    replicas: int = 1
    """How many of it a cluster runs, wherever it chooses."""
    health: Health | None = None
    """By what a cluster itself judges each of them, where it can."""


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
    awaited: str = ""
    """What it is not ready for, in words, where its runtime knows more than that it has not said so."""
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

    def in_words(self, called: str, limit: float, signal: str) -> str:
        """What was killed of the instance that is `called` so (``slot a``), and had got `signal` before; else empty."""
        if not self.killed:
            return ""
        if not self.stayed:
            subject = f"{called[:1].upper()}{called[1:]}"
            return f"{subject} did not exit within {limit:g}s of {signal} and was killed."
        return (
            f"The main process of {called} exited, but what it had started did not within {limit:g}s of {signal} "
            f"and was killed: {self.stayed}."
        )
