"""Hand-written stand-ins for the world, with a clock that does not wait."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.host import Host
from substitute.core.model.apps import App, Health
from substitute.core.model.errors import (
    BalancerError,
    RuntimeFailedError,
    SourceError,
    UnmovedError,
    UnobservedError,
)
from substitute.core.model.events import Notice
from substitute.core.model.programs import Inspection, Process, Stopped
from substitute.core.model.slots import Endpoint, Slot, SlotName
from substitute.core.ports.balancer import Traffic
from substitute.core.ports.commands import Finished
from substitute.core.ports.observer import Heard, Hold, Member, Progress
from substitute.core.ports.prober import Answer
from substitute.core.ports.source import Revision
from substitute.core.state.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from substitute.core.model.events import Event
    from substitute.core.model.programs import Program
    from substitute.core.ports.balancer import Backend
    from substitute.core.ports.observer import Request
    from substitute.core.ports.prober import Connected
    from substitute.core.ports.strangers import Stranger

PORTS = {SlotName.A: 3001, SlotName.B: 3002}


class FakeClock:
    """Sleeping moves it; `at` runs something when a time is reached."""

    def __init__(self) -> None:
        self.time = 0.0
        self.at: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return 1_000_000 + self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        for moment, act in [due for due in self.at if due[0] <= self.time]:
            self.at.remove((moment, act))
            act()


@dataclass
class FakeStrangers:
    """What listens without having been started here."""

    found: dict[int, Stranger] = field(default_factory=dict)
    ended: list[Process] = field(default_factory=list)

    def find(self, endpoint: Endpoint) -> Stranger | None:
        return self.found.get(endpoint.port)

    def end(self, process: Process, *, timeout: float) -> bool:
        self.ended.append(process)
        return False


@dataclass
class World:
    """Processes and traffic, as all the fakes share them."""

    clock: FakeClock = field(default_factory=FakeClock)
    running: dict[str, Process] = field(default_factory=dict)
    answering: dict[str, bool] = field(default_factory=dict)
    shares: dict[Endpoint, int] = field(default_factory=dict)
    in_flight: dict[Endpoint, int] = field(default_factory=dict)
    cut: dict[Endpoint, int] = field(default_factory=dict)
    counts_requests: bool = True
    """Whether the balancer can tell a request from a connection."""
    files: dict[str, str] = field(default_factory=dict)
    stubborn: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    strangers: FakeStrangers = field(default_factory=FakeStrangers)
    pids: int = 100
    healthy: Callable[[str], bool] = lambda _commit: True
    """Whether a version answers well."""
    boots: Callable[[str], bool] = lambda _commit: True
    """Whether a version survives its start."""
    serves: Callable[[str, str], bool] = lambda _commit, _path: True
    """Whether a version has a path."""
    programs: dict[str, Program] = field(default_factory=dict)
    """What was last started under each name."""
    left: dict[str, set[Process]] = field(default_factory=dict)
    """What instances and builds of a slot have left running, by its directory."""
    elsewhere: set[Process] = field(default_factory=set)
    """Processes of another root."""
    listening: set[Endpoint] = field(default_factory=set)
    """Where instances listen that nobody finds on their port."""
    untracked: set[str] = field(default_factory=set)
    """Files of slots that no commit holds."""
    balancer_obeys: bool = True
    blind_until: float = 0.0
    """Until when the balancer can't say what it does."""
    pending: str = ""
    """What the balancer must reload for."""
    reloads: bool = True
    returns: bool = True
    """Whether files that are changed can be changed back."""
    build_status: int = 0
    build_takes: float = 0.0
    fetchable: bool = True

    def crash(self, name: str) -> None:
        self.running.pop(name, None)

    def name_on(self, port: int) -> str:
        bound = {self.port_of(name): name for name in self.running}
        usual = "shop_a" if port == PORTS[SlotName.A] else "shop_b"
        return bound.get(port) or ("nobody" if usual in self.running else usual)

    def port_of(self, name: str) -> int:
        program = self.programs.get(name)
        return int(program.environment["PORT"]) if program else PORTS[SlotName(name[-1])]


class FakeLog:
    def lines(self, *, ended: bool = False) -> list[str]:
        return []


@dataclass
class FakeRuntime:
    world: World

    def start(self, program: Program) -> Process:
        if program.name in self.world.running:
            raise RuntimeFailedError(f"{program.name} runs already.")
        self.world.pids += 1
        process = Process(self.world.pids, self.world.pids, "boot")
        commit = self.world.files.get(str(program.directory), "")
        self.world.log.append(f"start {program.name}")
        self.world.programs[program.name] = program
        if self.world.boots(commit):
            self.world.running[program.name] = process
            self.world.answering[program.name] = self.world.healthy(commit)
        return process

    def inspect(self, name: str) -> Inspection:
        return Inspection(self.world.running.get(name), "exit status 1")

    def stop(self, name: str, process: Process | None, *, timeout: float) -> Stopped:
        if name in self.world.running:
            endpoint = Endpoint("127.0.0.1", self.world.port_of(name))
            assert not self.world.shares.get(endpoint), f"{name} was stopped while it gets requests"
            self.world.log.append(f"stop {name}")
            self.world.running.pop(name)
        return Stopped(killed=name in self.world.stubborn, seconds=0.0)

    def terminate(self, name: str, process: Process | None) -> None:
        self.world.log.append(f"terminate {name}")
        if name not in self.world.stubborn:
            self.world.clock.at.append((self.world.clock.time + 1.5, lambda: self.world.crash(name)))

    def trace(self, name: str) -> Process | None:
        return None

    def kept(self) -> set[str]:
        return set(self.world.running)

    def release(self, name: str) -> bool:
        return True

    def abandon(self) -> None:
        raise NotImplementedError

    def spawn(
        self, name: str, argv: Sequence[str], *, directory: Path, environment: Mapping[str, str], log: Path
    ) -> Callable[[], None]:
        raise NotImplementedError

    def log(self, name: str, file: Path) -> FakeLog:
        return FakeLog()

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        return []

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        raise NotImplementedError

    def shutdown(self) -> None:
        self.world.log.append("shutdown")


@dataclass
class FakeBalancer:
    world: World

    def route(self, backends: Sequence[Backend]) -> None:
        if not self.world.balancer_obeys:
            raise BalancerError("The balancer did not obey.")
        shares = {server.endpoint: server.share for backend in backends for server in backend.servers}
        if shares != self.world.shares:
            self.world.shares = shares
            self.world.log.append("route " + " ".join(f"{e.port}={s}" for e, s in sorted(shares.items())))

    def fronts(self) -> Sequence[str]:
        return ()

    def pending(self, backends: Sequence[Backend]) -> str:
        del backends
        return self.world.pending

    def reload(self, backends: Sequence[Backend]) -> None:
        if not self.world.reloads:
            raise UnmovedError("Its address is held by nginx.")
        self.world.log.append("reload")
        self.world.pending = ""
        self.route(backends)

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        if self.world.clock.time < self.world.blind_until:
            raise UnobservedError("The balancer does not say.")
        return {
            endpoint: Traffic(
                self.world.in_flight.get(endpoint, 0),
                0 if self.world.counts_requests else None,
                self.world.cut.get(endpoint, 0) if self.world.counts_requests else None,
                share,
            )
            for endpoint, share in self.world.shares.items()
        }

    def stop(self) -> None:
        self.world.log.append("balancer stopped")


@dataclass
class FakeSource:
    world: World

    def resolve(
        self, directory: Path, commit: str | None, *, fetch: bool = True, ours: bool = False
    ) -> Revision:
        if fetch and not self.world.fetchable:
            raise SourceError("The remote does not answer.")
        return Revision(commit or "newest", "a change", "branch main of origin")

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:
        self.world.log.append(f"update {directory.name} {commit}")
        self.world.files[str(directory)] = commit

    def returns(self, directory: Path, commit: str) -> bool:
        return self.world.returns

    def go_back(self, directory: Path, commit: str, *, left: str) -> None:
        assert self.world.files[str(directory)] == left
        self.update(directory, commit, clean=False)

    def current(self, directory: Path) -> str | None:
        return self.world.files.get(str(directory))

    def untracked(self, directory: Path, names: Sequence[str]) -> list[str]:
        return [name for name in names if name in self.world.untracked]

    def view(self, directory: Path, place: Path) -> Mapping[str, str]:
        return {}


@dataclass
class FakeCommands:
    world: World

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
        what = argv[-1].rsplit("/", 1)[-1]
        self.world.log.append(f"run {what}")
        on_start(Process(1, 1, "boot"))
        on_line("output")
        if argv[0] != "/bin/sh":
            return Finished(0, ("last line",))
        late = timeout is not None and self.world.build_takes > timeout
        self.world.clock.sleep(min(self.world.build_takes, timeout) if timeout else self.world.build_takes)
        return Finished(self.world.build_status, ("last line",), timed_out=late)

    def scripts(self, directory: Path, *, user: str | None = None) -> Mapping[str, bool]:
        return {file.name: True for file in directory.iterdir()} if directory.is_dir() else {}

    def is_another(self, user: str | None) -> bool:
        return False

    def end(self, process: Process) -> None:
        self.world.log.append("end leftover")

    def end_all(self, processes: Iterable[Process], *, timeout: float) -> bool:
        for directory, left in self.world.left.items():
            if left & set(processes):
                self.world.log.append(f"end what {Path(directory).name} left")
                left -= set(processes)
        return False


@dataclass
class FakeProber:
    world: World

    def holder(self, endpoint: Endpoint) -> str | None:
        name = self.world.name_on(endpoint.port)
        return f"{name}" if name in self.world.running else None

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        running = self.world.running.get(self.world.name_on(endpoint.port))
        return None if running is None else running == process

    def listening(self, process: Process) -> frozenset[Endpoint]:
        return frozenset(self.world.listening)

    def probe(self, endpoint: Endpoint, health: Health) -> Answer:
        name = self.world.name_on(endpoint.port)
        commit = (
            self.world.files.get(f"{self.world.programs[name].directory}", "")
            if name in self.world.programs
            else ""
        )
        good = self.world.answering.get(name, False) and self.world.serves(commit, health.path)
        return Answer(good, "200" if good else "500")

    def connected(self, endpoint: Endpoint) -> Connected | None:
        return None

    def marked(
        self, marks: Mapping[str, str], users: Iterable[str | None], root: Path
    ) -> Mapping[Process, str]:
        return dict.fromkeys(self.world.left.get(marks["SUBSTITUTE_DIRECTORY"], ()), "sleep")

    def is_elsewhere(self, process: Process, root: Path) -> bool:
        return process in self.world.elsewhere

    def alive(self, process: Process) -> bool:
        return process in self.world.running.values()

    def age(self, process: Process) -> float:
        return 1.0


@dataclass
class FakeConversation:
    """A request to an instance that waits for its body, answers, and closes idle connections at its end."""

    world: World
    name: str
    answered: bool

    def hear(self) -> Heard:
        return Heard(200 if self.answered else None, "" if self.name in self.world.running else "closed")

    def go_on(self) -> None:
        self.answered = True

    def progress(self) -> Progress:
        return Progress()

    def close(self) -> None:
        pass


@dataclass
class FakeObserver:
    world: World

    def members(self, endpoint: Endpoint, process: Process) -> tuple[Member, ...]:
        running = self.world.running.get(self.world.name_on(endpoint.port))
        return (Member(process, "serve", listens=True),) if running == process else ()

    def refuses(self, endpoint: Endpoint) -> bool:
        return "terminate" in self.world.log[-1]

    def ask(self, endpoint: Endpoint, request: Request) -> FakeConversation:
        answered = request.hold is Hold.NOTHING
        return FakeConversation(self.world, self.world.name_on(endpoint.port), answered=answered)


@dataclass
class Shop:
    """An app on a host that is all fakes but the journal."""

    world: World
    app: App
    host: Host
    events: list[Event]

    def names(self) -> list[str]:
        return [event.event for event in self.events if event.event not in {"output", "notice"}]

    def change(self, **changes: object) -> None:
        self.app = replace(self.app, **changes)  # type: ignore[arg-type]


def make_slots(root: Path, name: str, a: int, b: int) -> dict[SlotName, Slot]:
    ports = {SlotName.A: a, SlotName.B: b}
    return {
        slot: Slot(slot, root / f"{name}_{slot}", (Endpoint("127.0.0.1", port),))
        for slot, port in ports.items()
    }


def make_app(root: Path) -> App:
    return App(
        name="shop",
        root=root,
        repo="repo",
        branch=None,
        build=("make",),
        build_timeout=1800.0,
        clean=False,
        start="serve",
        slots=make_slots(root, "shop", *PORTS.values()),
        domains=(),
        env={},
        health=Health("http", "/", None, timeout=30.0, interval=0.1, successes=2),
        drain_timeout=30.0,
        stop_timeout=30.0,
        verify_for=0.0,
        verify_share=50,
        hooks_timeout=60.0,
    )


def make_shop(root: Path) -> Shop:
    world = World()
    events: list[Event] = []
    (root / "deploy" / "run").mkdir(parents=True)
    host = Host(
        root=root,
        journal=Journal(root / "deploy" / "journal.db"),
        balancer=FakeBalancer(world),
        runtime=FakeRuntime(world),
        prober=FakeProber(world),
        strangers=world.strangers,
        observer=FakeObserver(world),
        commands=FakeCommands(world),
        clock=world.clock,
        emit=events.append,
        source=lambda _app: FakeSource(world),
        caller={"PATH": "/bin"},
        user="ada",
        guardian=lambda _app: nullcontext(lambda: events.append(Notice("handed over"))),
    )
    return Shop(world, make_app(root), host, events)


class Written:
    """A log that has `lines` when it is first looked at."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def lines(self, *, ended: bool = False) -> list[str]:
        found, self._lines = self._lines, []
        return found
