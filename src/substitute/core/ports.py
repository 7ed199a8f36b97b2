"""What the core asks of the world. Each protocol states the promise that its adapters keep."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.apps import Health
    from substitute.core.slots import Endpoint, SlotName


# -- processes ------------------------------------------------------------------------------------


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


class Log(Protocol):
    """What a program writes from now on."""

    def lines(self, *, ended: bool = False) -> list[str]:
        """The whole lines since the previous call. Never raises.

        With `ended` the program runs no more, and what it wrote at last may be waited for, briefly.
        """


class Runtime(Protocol):
    """Keeps instances running.

    Instances outlive the deployer and its terminal, and are started again when they crash.
    """

    def start(self, program: Program) -> Process:
        """Start `program` under its name and return as soon as it has a process (not: is ready).

        What ran under that name before must be stopped. Raises RuntimeFailedError with the reason when
        it cannot be started, what it wrote at last among it. No other user can read its log.
        """

    def inspect(self, name: str) -> Inspection:
        """Observe `name`. An unknown name, or a runtime that does not run, has no process.

        Raises RuntimeFailedError where it runs and does not tell: then the journal and the kernel are asked.
        """

    def stop(self, name: str, process: Process | None, *, timeout: float) -> Stopped:
        """SIGTERM to the main process alone; after `timeout` seconds SIGKILL to its whole group.

        What is left of the group once the main process is gone ends then, and is not waited for until the limit.
        Returns when the process and its group are gone. It is not started again. `process` is what the
        journal remembers: one that the runtime lost (it died and left an orphan) is signalled directly.
        Stopping what does not run is no error. Raises RuntimeFailedError if it cannot be ended.
        """

    def terminate(self, name: str, process: Process | None) -> None:
        """Begin what `stop` does and return at once: SIGTERM to the main process alone, and it is not started again.

        What then becomes of it can be watched; `stop` completes it. Raises as `stop` does.
        """

    def trace(self, name: str) -> Process | None:
        """The running main process of `name`, by what its start left behind, even if nothing keeps it any more.

        Nobody but the runtime and the owner of the root's state can leave that: a process that only looks like an
        instance, by its user, directory, environment and port, is none.
        """

    def kept(self) -> set[str]:
        """The names of all that it keeps running, or is about to start again. Empty where it does not run.

        Raises RuntimeFailedError where it runs and does not tell: it may keep anything, so nothing is ended for that.
        """

    def release(self, name: str) -> bool:
        """Have no other runtime of the root keep `name`, which then goes on, and is not started again when it ends.

        False where that can't be done yet. The caller starts another one beside it, and ends it.
        """

    def abandon(self) -> None:
        """Keep nothing any more: what runs goes on, and is not started again when it ends."""

    def spawn(
        self, name: str, argv: Sequence[str], *, directory: Path, environment: Mapping[str, str], log: Path
    ) -> Callable[[], None]:
        """Run a program once, past this command and what this command runs in. What is returned ends it at once."""

    def log(self, name: str, file: Path) -> Log:
        """What `name` writes from now on. `file` is its `Program.log`, for a runtime that has no log of its own."""

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        """The last lines that `name` wrote, across its restarts."""

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        """Give `on_line` the last lines of each name, as many as `logs` says, then whatever is written.

        Returns never: Ctrl-C comes through.
        """

    def shutdown(self) -> None:
        """End the runtime itself, where it is a process of ours and nothing runs in it any more."""


# -- traffic --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """One endpoint of an app and its share of the new requests, 0 to 100. 0 means none at all."""

    slot: SlotName
    endpoint: Endpoint
    share: int
    claimed: bool = True
    """An instance of ours runs there, or is about to. Else whoever listens on it is a stranger, and left alone."""


@dataclass(frozen=True)
class Backend:
    """An app as the balancer sees it. No domains: it gets what no other app's domains match."""

    app: str
    domains: tuple[str, ...]
    servers: tuple[Server, ...]


@dataclass(frozen=True)
class Traffic:
    """What a balancer knows of one endpoint; None is what it can't know. Counters since it started."""

    in_flight: int
    """Requests; open connections where the balancer can't tell requests. 0: nothing is or may yet be sent."""
    requests: int | None
    cut: int | None
    """Answers that never came or broke off, by no fault of the client's; rather too many than too few."""
    share: int | None
    """The share that the balancer itself says is in force."""
    opened: int | None = None
    """Connections to the endpoint that it has opened since it started, where it counts them."""
    open: int | None = None
    """Those that are open now, in use or kept."""


class Balancer(Protocol):
    """Decides which instances get new requests."""

    def route(self, backends: Sequence[Backend]) -> None:
        """Make the shares of all apps of the root those given, starting the balancer where it must.

        When it returns, every new request obeys. Idempotent, and cheap when nothing changes. A restart of
        the balancer at any moment keeps the routes. Raises BalancerError when the balancer did not
        demonstrably obey; then nothing was taken from an instance that is not named otherwise.

        What only a reload changes (see `pending`) stays as it is, unless a share cannot be given without.
        """

    def pending(self, backends: Sequence[Backend]) -> str:
        """What only a reload brings into force before `backends` can be served, as a sentence; empty where none does.

        Never raises.
        """

    def reload(self, backends: Sequence[Backend]) -> None:
        """Bring into force what `pending` says, and do what `route` does. It cuts no connection.

        Raises UnmovedError where that can't be; then it serves as before.
        """

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        """What is observed for each endpoint; empty where the balancer is ours and does not run: nothing is in flight.

        None where it can never be known here. Raises UnobservedError where it can't be at this moment: who has to
        know it asks again.
        """

    def fronts(self) -> Sequence[str]:
        """Where clients come in (``127.0.0.1:8080``), observed; empty where a program of the user's listens."""

    def stop(self) -> None:
        """End the balancer where it is a process of ours. No error when it does not run."""


# -- source ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Revision:
    """A commit that was chosen."""

    commit: str
    """Full hash."""
    subject: str
    """First line of the message."""
    how: str
    """Why it was chosen, as ``branch main of origin``."""
    tag: str = ""
    """A tag that leads to it, or empty."""


class Source(Protocol):
    """Brings a commit into a slot."""

    def resolve(
        self, directory: Path, commit: str | None, *, fetch: bool = True, ours: bool = False
    ) -> Revision:
        """Choose the commit: a branch of origin, a tag, any commit; None is the newest of the app's branch.

        Makes the clone in `directory` where there is none and, with `fetch`, gets what is new from the
        remote. The slot's files are not touched. An unreachable remote is a warning where the commit is
        there already. `ours` says that a clone was made in `directory` before: a broken one is set aside, aloud, and
        a fresh one takes its place. Raises UsageError for a commit that does not exist, is ambiguous or looks like an
        option, SourceError when the remote is needed and does not answer.
        """

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:
        """Make the tracked files those of `commit`, submodules too. With `clean` untracked ones go."""

    def returns(self, directory: Path, commit: str) -> bool:
        """Whether all files of the slot, untracked ones too, would be as they are after an update to `commit` and back.

        Never raises.
        """

    def go_back(self, directory: Path, commit: str, *, left: str) -> None:
        """Undo an update from `commit` to `left`, of which `returns` was true, whether that came to its end or not."""

    def current(self, directory: Path) -> str | None:
        """The commit that the slot's files are at, or None where there is no clone."""

    def untracked(self, directory: Path, names: Sequence[str]) -> list[str]:
        """Those of `names`, files of the slot, that are there and that its commit does not hold. Never raises."""

    def view(self, directory: Path, place: Path) -> Mapping[str, str]:
        """Variables by which git in a program of the deployer's sees the commits of the clone in `directory`.

        It obeys nothing that the clone's owner configured there. `place` is a directory for it, made where it is
        missing. Nothing where there is no clone.
        """


# -- commands, probes, time -----------------------------------------------------------------------


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    status: int
    """Exit status; negative: the signal that ended it."""
    tail: tuple[str, ...]
    """The last lines of its output."""
    timed_out: bool = False


class Commands(Protocol):
    """Runs builds and hooks, each in a process group of its own and without standard input."""

    def run(
        self,
        argv: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        on_start: Callable[[Process], None],
        timeout: float | None = None,
        user: str | None = None,
    ) -> Finished:
        """Run to the end, as `user`, output merged and given to `on_line` line by line.

        `on_start` is called with the leader of the group, and the program begins when that has returned: whoever
        kills this process finds it noted, or nothing. When `timeout` passes or an exception (Ctrl-C) comes through,
        the whole group is ended first. A program that cannot be executed ends with status 126 or 127, as in a shell.
        Raises OSError where nothing can be started in `directory`.
        """

    def scripts(self, directory: Path, *, user: str | None = None) -> Mapping[str, bool]:
        """The files of `directory` that `user` finds there, and whether they may be executed; none where it is missing.

        Raises OSError where nobody may look.
        """

    def is_another(self, user: str | None) -> bool:
        """Whether `user` is somebody else than who runs this."""

    def end(self, process: Process) -> None:
        """End the group that `process` leads, if it is still that one: a build that outlived its deployer."""

    def end_all(self, processes: Iterable[Process], *, timeout: float) -> bool:
        """SIGTERM to each, and after `timeout` seconds SIGKILL. True if that was needed.

        Raises RuntimeFailedError where one can't be ended.
        """


@dataclass(frozen=True)
class Answer:
    """What a probe saw."""

    good: bool
    seen: str
    """``200``, ``502``, ``connection refused``, ``no answer within 1 s``, …"""


@dataclass(frozen=True)
class Connected:
    """Who is, or was a moment ago, connected to an endpoint."""

    clients: frozenset[Endpoint]
    """The other ends of all connections that the kernel knows: those that are over too, for a minute."""
    open: int
    """How many are established."""


class Prober(Protocol):
    """Looks at endpoints from outside, and at who listens on them."""

    def holder(self, endpoint: Endpoint) -> str | None:
        """Who listens on the port (``node (pid 812)``), wildcard addresses included; None: it is free."""

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        """Whether every listener on the port belongs to `process`, its descendants or its group.

        None while nobody listens.
        """

    def listening(self, process: Process) -> frozenset[Endpoint]:
        """Every address and port that `process`, its descendants or its group listen on, as far as it can be seen."""

    def connected(self, endpoint: Endpoint) -> Connected | None:
        """Who is connected to the endpoint, which is on this machine; None where the kernel does not tell."""

    def marked(
        self, marks: Mapping[str, str], users: Iterable[str | None], root: Path
    ) -> Mapping[Process, str]:
        """All that was started with the variables of `marks`, each with its name, whoever started it, wherever it is.

        It runs as one of `users` (None: the owner of the root's state), and works in no other root than `root`. Who
        asks, who started him, what he has started, and what a hook started are not among them.
        """

    def is_elsewhere(self, process: Process, root: Path) -> bool:
        """Whether it works in another root than `root`: a journal that names it was copied from there."""

    def probe(self, endpoint: Endpoint, health: Health) -> Answer:
        """Ask once, as `health` says. Never raises."""

    def alive(self, process: Process) -> bool:
        """Whether it is still that process; a zombie is not."""

    def age(self, process: Process) -> float:
        """Seconds since it started."""


@dataclass(frozen=True)
class Keeper:
    """What kept a program running before it was adopted: a unit of systemd's, PM2, a container's engine."""

    called: str
    """As ``the systemd unit shop.service``."""
    start: tuple[str, ...]
    stop: tuple[str, ...]
    """After which it is not started again by itself, until a reboot."""
    forget: str
    """What somebody types so that it is not started after a reboot either."""
    user: str | None = None
    """Whose it is, and whose commands these are; None is who runs this."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def is_same(self, other: Keeper | None) -> bool:
        """Whether it is that one, whatever its commands are today."""
        return other is not None and (self.called, self.user) == (other.called, other.user)


@dataclass(frozen=True)
class Stranger:
    """A program that listens on a port, and was not started here."""

    process: Process
    """The main one of its processes, which gets the signal."""
    directory: Path
    user: str | None
    """Whose it is; None is who runs this."""
    keeper: Keeper | None
    """None: whoever stops it has stopped it."""


class Strangers(Protocol):
    """Programs that were not started here."""

    def find(self, endpoint: Endpoint) -> Stranger | None:
        """What listens there; None where nobody does. Raises UsageError where it can't be told, or not be stopped."""

    def end(self, process: Process, *, timeout: float) -> bool:
        """SIGTERM to `process`; after `timeout` seconds SIGKILL to it and what descends from it: True if needed.

        Raises RuntimeFailedError if it cannot be ended.
        """


class Clock(Protocol):
    """Time, so that a test need not wait for it."""

    def now(self) -> float:
        """Seconds since the epoch, for people."""

    def monotonic(self) -> float:
        """Seconds, for deadlines."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


# -- manners --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """One process of an instance."""

    process: Process
    name: str
    """As ``node``."""
    listens: bool
    """It holds a socket that listens on the instance's port."""
    platform: str = ""
    """What its command line shows it to be (`core.cures` knows the names), or empty."""
    parent: int | None = None
    """The pid of who started it, where that one still runs."""
    handles_sigterm: bool = True
    """False: SIGTERM ends it at once or is ignored, by the kernel; nothing of its own runs then."""
    program: str = ""
    """The file that it executes, where `name` is only a title that it gave itself, as ``next-server``."""

    def __str__(self) -> str:
        also = f", a {self.program} process" if self.program else ""
        return f"{self.name} (pid {self.process.pid}{also})"


class Hold(StrEnum):
    """What the client of a request keeps back until it is told to go on."""

    NOTHING = "nothing"
    BODY = "body"
    """The request's head announces a body that is not sent yet."""
    READING = "reading"
    """Nothing is read. What the kernel takes of the answer is kept small: about 60 KB."""


@dataclass(frozen=True)
class Request:
    """What is asked of an instance."""

    method: str
    path: str
    host: str | None
    """The Host header; None is the address that is asked."""
    hold: Hold = Hold.NOTHING


@dataclass(frozen=True)
class Heard:
    """What has come on a connection so far."""

    status: int | None = None
    """The status of the answer, as soon as all of it is there."""
    closed: str = ""
    """How the instance ended the connection (``closed``, ``reset``), or empty while it is open."""
    size: int = field(default=0, compare=False)
    """Bytes of the whole answer, as soon as all of it is there."""


@dataclass(frozen=True)
class Progress:
    """How far an instance is with a request, as the kernel knows it."""

    accepted: bool = True
    """False: the connection waits in the queue of the listening socket."""
    handed_over: int | None = None
    """How many bytes of its answer the instance is rid of: read, or in the kernel's hands. None: not known."""


class Conversation(Protocol):
    """One connection to an instance, with one request on it. No method waits or raises."""

    def hear(self) -> Heard:
        """What has come so far."""

    def go_on(self) -> None:
        """Send the body that was held back; read the answer."""

    def progress(self) -> Progress:
        """How far the instance is with it."""

    def close(self) -> None:
        """Close the connection."""


class Witness(Protocol):
    """Sees an instance from outside while it is told to stop. Its connections are marked as probes."""

    def members(self, endpoint: Endpoint, process: Process) -> tuple[Member, ...]:
        """The running processes of an instance: `process`, its group and its descendants."""

    def refuses(self, endpoint: Endpoint) -> bool:
        """Whether a new connection is refused."""

    def ask(self, endpoint: Endpoint, request: Request) -> Conversation:
        """Connect and send `request`. An instance that can't be connected to gives a conversation which is closed."""
