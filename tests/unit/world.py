"""The model's world: two apps on one machine where anything may fail, crash or die at any moment.

Every call of a port and every write of the journal is a `look`, which changes nothing, or a `deed`. A `Mishap`
happens at the one that it names. Whatever a deployer does to the world is held against the rules of the contract
at once; each rule that it breaks is a line in `wrongs`, for an exception might be caught on its way.
"""

from __future__ import annotations

import copy
import errno
import math
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, cast
from xmlrpc.client import Fault

from substitute.core.deploy.pointers import write_pointers
from substitute.core.host import Host
from substitute.core.model.apps import App, Health
from substitute.core.model.errors import (
    BalancerError,
    NothingServesError,
    RuntimeFailedError,
    SourceError,
    SubstituteError,
    UnmovedError,
    UnobservedError,
)
from substitute.core.model.programs import Inspection, Process, Stopped
from substitute.core.model.slots import Endpoint, Slot, SlotName
from substitute.core.model.unexpected import expected
from substitute.core.ports.balancer import Traffic
from substitute.core.ports.commands import Finished
from substitute.core.ports.observer import Heard, Hold, Member, Progress
from substitute.core.ports.prober import Answer
from substitute.core.ports.source import Revision
from substitute.core.ports.strangers import Stranger
from substitute.core.state.journal import Journal
from tests.unit.fakes import FakeLog

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from substitute.core.model.programs import Program
    from substitute.core.model.records import AppRecord
    from substitute.core.ports.balancer import Backend
    from substitute.core.ports.observer import Request
    from substitute.core.ports.prober import Connected
    from substitute.core.ports.strangers import Keeper

PORTS = {"shop": (3001, 3002), "blog": (4001, 4002)}
GUEST, GUEST_PORT = "worker", 5001

GOOD = ("v1", "v2", "v3", "stubborn", "busy")
"""Versions that can be deployed. ``stubborn`` ignores SIGTERM, and requests to ``busy`` never end."""
BAD = ("unbuildable", "crashing", "sick")
"""Versions that cannot: no build, no process, no good answer."""

BOOT, EXIT, STOP_LIMIT, DRAIN_LIMIT, AGAIN = 0.05, 1.5, 4.0, 0.2, 0.3
"""Seconds: until an instance answers, from SIGTERM to its end, both timeouts, until a runtime starts it again."""

_IN_MEMORY = Path("/dev/shm")  # noqa: S108  # the journal waits for the disk: thousands of times here


class Killed(BaseException):
    """SIGKILL. No code of the deployer's may catch it, and nothing that it tries afterwards has an effect."""


class What(StrEnum):
    """What can happen in the middle of a command."""

    KILL = "the deployer is killed"
    FAIL = "what it does fails"
    INTERRUPT = "Ctrl-C"
    CRASH_A = "slot a crashes"
    CRASH_B = "slot b crashes"
    SICKEN_A = "slot a stops answering well"
    SICKEN_B = "slot b stops answering well"
    LOSE_RUNTIME = "the runtime is killed"
    LOSE_BALANCER = "the balancer is killed"
    RAISE = "a call raises what nobody foresaw"
    SIGNAL = "Ctrl-C in the middle of a transaction"
    BLIND = "the balancer does not tell what it does, for a moment"
    REFUSE = "the balancer obeys nothing any more in this command"
    INSIST = "Ctrl-C twice"


LEFT_ALONE = frozenset(
    {What.FAIL, What.INTERRUPT, What.RAISE, What.SIGNAL, What.BLIND, What.REFUSE, What.INSIST}
)
"""After these each instance is as it was: what a command says of it must be true at its end."""
SURPRISES = (
    OSError(errno.EIO, "Input/output error"),
    RuntimeError("a surprise"),
    Fault(1, "UNKNOWN_METHOD"),
    sqlite3.OperationalError("disk I/O error"),
)
_AT_A_DEED = {What.KILL, What.FAIL, What.INTERRUPT}
"""A deployer that dies before a look might as well die before the next deed. The others may happen between looks."""


@dataclass(frozen=True)
class Mishap:
    """Something that happens right before the call number `at` of a command, counted from 1."""

    what: What
    at: int


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    error: SubstituteError | KeyboardInterrupt | None
    killed: bool
    disturbed: bool
    """A mishap has happened in it."""
    happened: frozenset[What] = frozenset()

    @property
    def succeeded(self) -> bool:
        """Whether it returned."""
        return self.error is None and not self.killed


@dataclass(eq=False)
class Instance:
    """A process of an app's."""

    app: str
    slot: SlotName
    process: Process
    directory: Path
    version: str
    endpoint: Endpoint
    command: str
    """Its start line. It answers a health check that asks for what stands there behind ``serve``, and no other."""
    since: float
    sick: bool = False
    told: float | None = None
    """When it got SIGTERM."""
    stranger: bool = False
    """It was not started here. It may be adopted."""

    @property
    def name(self) -> str:
        return GUEST if self.app == GUEST else f"{self.app}_{self.slot}"

    @property
    def listens(self) -> bool:
        return self.told is None or self.version == "stubborn"


@dataclass(frozen=True)
class Memory:
    """A world as it was."""

    journal: bytes
    parts: list[dict[str, object]]


@dataclass(frozen=True)
class Files:
    """What a directory holds: tracked files, and what a build has made of them, or of earlier ones."""

    version: str
    built: str = ""


class Clock:
    """Sleeping moves it, and so, a little, does every call; what is due `after` some seconds is then done."""

    def __init__(self) -> None:
        self.time = 0.0
        self.due: list[tuple[float, Callable[..., None], tuple[Instance, ...]]] = []

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        for due in [due for due in self.due if due[0] <= self.time]:
            self.due.remove(due)
            due[1](*due[2])

    def after(self, seconds: float, act: Callable[..., None], *whom: Instance) -> None:
        self.due.append((self.time + seconds, act, whom))


class World:
    """All that is outside of the core, and the rules."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="model-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None))
        (self.root / "deploy" / "run").mkdir(parents=True)
        self.apps = {name: _app(self.root, name) for name in PORTS}
        for app in self.apps.values():
            for slot in app.slots.values():
                slot.directory.mkdir()
            _write_hook(app, "running")
            _write_hook(app, "pre_stop")
        self.guests_place = self.root / "elsewhere"
        self.guests_place.mkdir()
        (self.guests_place / "Procfile").write_text("web: serve /\n")
        self.clock = Clock()
        self.foreign: list[Instance] = []
        """What runs for the root that this one is a copy of, on other addresses. The journal still names it."""
        self.foreign_builds: set[Process] = set()
        self.proven: dict[Path, str] = {}
        """The start line of what was live in a directory, until its files change."""
        self.instances: list[Instance] = []
        self.files: dict[Path, Files] = {}
        self.builds: dict[Process, Path] = {}
        self.pids, self.boot = 100, 1
        self.runtime = ModelRuntime(self)
        self.balancer = ModelBalancer(self)
        self.wrongs: list[str] = []
        self.trail: list[str] = []
        self.command, self.subjects = "", frozenset[str]()
        self.retired: set[str] = set()
        """Apps that somebody wants not to serve: ``down`` and ``stop --force`` were typed last."""
        self.handed_over: set[str] = set()
        """Apps whose deployer has left a drain to its guardian."""
        self.unseen: set[str] = set()
        """Instances that were harmed since anybody could look at them: their trouble is nobody's fault."""
        self.keeper: Keeper | None = None
        """What keeps the stranger, if anything does."""
        self._mishaps: list[Mishap] = []
        self._calls = self._deeds = self._failable = self._statements = 0
        self._dead = False
        self.journal: ModelJournal
        self.host: Host
        self._open()
        for app in self.apps.values():
            self.journal.register(app)
        self.disk = self.journal.on_the_disk()

    def close(self) -> None:
        self.journal.close()
        shutil.rmtree(self.root)

    # -- commands -------------------------------------------------------------------------------

    def run(
        self, command: str, apps: Sequence[str], act: Callable[[Host], object], mishaps: Sequence[Mishap] = ()
    ) -> Outcome:
        """Have a deployer do `act` for `apps`, as `command`; it may break no rule, whatever becomes of it."""
        self.command, self.subjects = command, frozenset(apps)
        self.unseen -= {f"{app}_{slot}" for app in apps for slot in SlotName}
        self._mishaps, self._calls, self._deeds, self._failable = list(mishaps), 0, 0, 0
        self._statements, self.balancer.refuses = 0, False
        self.trail += ["", f"$ {command} {' '.join(apps)}"]
        error: SubstituteError | KeyboardInterrupt | None = None
        killed = False
        try:
            act(self.host)
        except Killed:
            killed = True
        except (SubstituteError, KeyboardInterrupt) as raised:
            error = raised
        except Exception as raised:
            if not any(raised is one for one in SURPRISES):
                raise
            error = expected(raised)  # as the edge tells it
        left = Counter(one.what for one in self._mishaps)  # two may be alike, and one of them have happened
        happened = frozenset(Counter(one.what for one in mishaps) - left)
        disturbed, self._mishaps = len(self._mishaps) < len(mishaps), []
        if killed:
            self.journal.close()
            self._dead = False
            self._open()
        self.trail.append(f"# {'killed' if killed else error or 'done'}")
        if What.RAISE not in happened:
            self.promised("a failure is no bug", kept="bug in substitute" not in str(error))
        if isinstance(error, SubstituteError) and happened <= LEFT_ALONE:
            self._hold_to_its_words(apps, error)
        if self.wrongs:
            raise AssertionError(self.story())
        return Outcome(error, killed, disturbed, happened)

    def _hold_to_its_words(self, apps: Sequence[str], error: SubstituteError) -> None:
        """Whoever is said to serve does, and nothing does where that is said."""
        text, asleep = str(error), isinstance(error, NothingServesError)
        for app in apps:
            if asleep and len(apps) == 1:
                self.promised(f"nothing serves {app}", kept=not self._answered(app, any))
        if said := re.search(r"Slot (a|b) \(\w*\) (still serves|serves now)", text):
            (app,), slot = apps, SlotName(said[1])
            ready = self.is_ready(self.record(app).slots[slot].endpoints[0])
            self.promised(said[0], kept=ready and self.shares(app)[slot] > 0)

    def promised(self, what: str, *, kept: bool) -> None:
        """Hold what has come out against what was promised."""
        if not kept:
            self.wrong(f"not so: {what}")
            raise AssertionError(self.story())

    def story(self) -> str:
        """All that was done, and what was wrong with it."""
        return "\n".join(self.trail)

    def _open(self) -> None:
        """A new process has this in its hands."""
        self.journal = ModelJournal(self)
        self.host = Host(
            root=self.root,
            journal=self.journal,
            balancer=self.balancer,
            runtime=self.runtime,
            prober=ModelProber(self),
            strangers=ModelStrangers(self),
            observer=ModelObserver(self),
            commands=ModelCommands(self),
            clock=ModelClock(self),
            emit=lambda _: None,
            source=lambda _: ModelSource(self),
            caller={"PATH": "/bin"},
            user="ada",
            guardian=lambda app: nullcontext(lambda: self.handed_over.add(app)),
        )

    # -- moments --------------------------------------------------------------------------------

    def look(self, *names: str) -> None:
        """Somebody looks at the instances called `names`."""
        self._moment(None)
        self.unseen.difference_update(names)

    def deed(self, what: str, failure: Exception | None = None) -> None:
        """Something is about to be done; `failure` is how that fails, if it can."""
        self._deeds += 1
        self._failable += failure is not None
        self._moment(failure, deed=True)
        self.trail.append(f"  {self.clock.time:.2f} {what}")

    def _moment(self, failure: Exception | None, *, deed: bool = False) -> None:
        if self._dead:
            raise Killed
        self.clock.sleep(0.001)
        self._calls += 1
        for mishap in self._mishaps:
            if mishap.what is What.FAIL:
                due = failure is not None and self._failable == mishap.at
            elif mishap.what in _AT_A_DEED:
                due = deed and self._deeds == mishap.at
            else:
                due = mishap.what is not What.SIGNAL and self._calls == mishap.at
            if due:
                self._mishaps.remove(mishap)
                self.trail.append(f"! {mishap.what}")
                self._happen(mishap.what, failure)
                return

    def statement(self) -> None:
        """A transaction has begun or ended."""
        self._statements += 1
        for mishap in [one for one in self._mishaps if one == Mishap(What.SIGNAL, self._statements)]:
            self._mishaps.remove(mishap)
            self.trail.append(f"! {mishap.what}")
            signal.raise_signal(signal.SIGINT)

    def _happen(self, what: What, failure: Exception | None) -> None:  # noqa: C901
        match what:
            case What.RAISE:
                raise SURPRISES[self._calls % len(SURPRISES)]
            case What.BLIND:
                self.balancer.blind_until = self.clock.time + 0.1
            case What.REFUSE:
                self.balancer.refuses = True
            case What.KILL:
                self._dead = True
                raise Killed
            case What.FAIL:
                assert failure
                raise failure
            case What.INTERRUPT:
                signal.raise_signal(signal.SIGINT)
            case What.INSIST:
                try:
                    signal.raise_signal(signal.SIGINT)
                finally:
                    signal.raise_signal(signal.SIGINT)
            case What.CRASH_A | What.CRASH_B | What.SICKEN_A | What.SICKEN_B:
                slot = SlotName.A if what in {What.CRASH_A, What.SICKEN_A} else SlotName.B
                harm = self.crash if what in {What.CRASH_A, What.CRASH_B} else self.sicken
                for app in sorted(self.subjects):
                    harm(app, slot)
            case What.LOSE_RUNTIME:
                self.runtime.lose()
            case What.LOSE_BALANCER:
                self.balancer.lose()

    # -- what happens by itself -----------------------------------------------------------------

    def crash(self, app: str, slot: SlotName) -> None:
        for instance in self.of(app, slot):
            self.end(instance)
            self.unseen.add(instance.name)
            self.runtime.ended(instance)

    def sicken(self, app: str, slot: SlotName) -> None:
        for instance in self.of(app, slot):
            instance.sick = True
            self.unseen.add(instance.name)

    def heal(self, app: str) -> None:
        for instance in self.of(app):
            instance.sick = False

    def lose_power(self, *, lately_written: bool) -> None:
        """Everything ends; what was `lately_written` to the journal without waiting for the disk may be lost."""
        self.trail += [
            "",
            f"! power cut, {'all' if lately_written else 'only what is durable'} is on the disk",
        ]
        self.clock.due.clear()
        self.instances.clear()
        self.builds.clear()
        self.runtime.lose()
        self.balancer.running = False
        self.boot += 1
        if not lately_written:
            self._replace_journal(self.disk)

    def become_a_copy(self) -> None:
        """The root was moved aside and a copy put into its place: nothing that the journal names is this one's."""
        self.trail += ["", "! another root has taken the place of this one"]
        self.foreign += self.instances
        self.foreign_builds |= self.builds.keys()
        self.clock.due.clear()
        self.instances.clear()
        self.builds.clear()
        self.runtime.lose()
        self.balancer.running = False

    # -- from the same point again --------------------------------------------------------------

    def remember(self) -> Memory:
        """All that is so now."""
        parts = [vars(part).copy() for part in self._parts()]
        for opened in ("journal", "host"):
            del parts[0][opened]
        return Memory(self.journal.on_the_disk(), self._copy(parts))

    def go_back(self, memory: Memory) -> None:
        """Make all so again as it was."""
        for part, attributes in zip(self._parts(), self._copy(memory.parts), strict=True):
            vars(part).update(attributes)
        self._replace_journal(memory.journal)
        for name, app in self.apps.items():
            if self.current(name) not in {None, self.record(name).live}:
                app.current_link.unlink()
                write_pointers(self.host, app)

    def _parts(self) -> tuple[object, ...]:
        return self, self.clock, self.runtime, self.balancer

    def _copy(self, parts: list[dict[str, object]]) -> list[dict[str, object]]:
        """A copy in which only the parts themselves, the configuration and the open journal are the same."""
        kept = (*self._parts(), self.apps)
        return copy.deepcopy(parts, {id(one): one for one in kept})

    def _replace_journal(self, content: bytes) -> None:
        self.journal.close()
        for end in ("", "-wal", "-shm"):
            self.journal_file.with_name(self.journal_file.name + end).unlink(missing_ok=True)
        self.journal_file.write_bytes(content)
        self._open()

    # -- what is so -----------------------------------------------------------------------------

    @property
    def journal_file(self) -> Path:
        return self.root / "deploy" / "journal.db"

    def record(self, app: str) -> AppRecord:
        return self.journal.app(app)

    def signpost(self, app: str) -> str | None:
        """What ``next_deploy`` says."""
        path = self.apps[app].state_directory / "next_deploy"
        return path.read_text().strip() if path.exists() else None

    def current(self, app: str) -> str | None:
        """Which slot the link ``<app>_current`` leads to."""
        link = self.apps[app].current_link
        return link.readlink().name[-1] if link.is_symlink() else None

    def of(self, app: str, slot: SlotName | None = None) -> list[Instance]:
        return [one for one in self.instances if one.app == app and slot in {None, one.slot}]

    def with_process(self, process: Process | None) -> Instance | None:
        return next((one for one in [*self.instances, *self.foreign] if one.process == process), None)

    def on(self, endpoint: Endpoint) -> Instance | None:
        """Who listens there."""
        return next((one for one in self.instances if one.endpoint == endpoint and one.listens), None)

    def is_ready(self, endpoint: Endpoint) -> bool:
        """Whether a request is answered well there."""
        instance = self.on(endpoint)
        return (
            instance is not None
            and not instance.sick
            and instance.version in GOOD
            and self.clock.time >= instance.since + BOOT
        )

    def shares(self, app: str) -> dict[SlotName, int]:
        """Where the balancer sends new requests, in percent."""
        found = self.balancer.in_force if self.balancer.running else {}
        return {slot: found.get(self.endpoint(app, slot), 0) for slot in SlotName}

    def serves(self, app: str) -> bool:
        """Whether every request to `app` is answered."""
        return self._answered(app, all)

    def endpoint(self, app: str, slot: SlotName) -> Endpoint:
        """Where the slot's instance listens, or would."""
        return self.journal.app(app).slots[slot].endpoints[0]

    def guests(self) -> list[Instance]:
        return [one for one in self.instances if one.app == GUEST]

    def birth(self, app: str, slot: SlotName, directory: Path, endpoint: Endpoint, command: str) -> Process:
        """A process starts; it may have ended by the time that somebody looks."""
        self.pids += 1
        process = Process(self.pids, self.pids, f"boot {self.boot}")
        held = Files("v1") if app == GUEST else self.files.get(directory)
        if held and held.version != "crashing" and self.on(endpoint) is None:
            self.instances.append(
                Instance(app, slot, process, directory, held.version, endpoint, command, self.clock.time)
            )
        return process

    def come_along(self, app: str, keeper: Keeper | None) -> None:
        """An app is started by somebody else on the port of slot a, kept by `keeper`, and serves from then on."""
        self.keeper = keeper
        (self.root / "old").mkdir(exist_ok=True)
        self.files[self.root / "old"] = Files("v1")
        self._start_stranger(app)
        self.clock.sleep(BOOT)

    def _start_stranger(self, app: str) -> None:
        process = self.birth(app, SlotName.A, self.root / "old", self.endpoint(app, SlotName.A), "serve /")
        if instance := self.with_process(process):
            instance.stranger = True

    def is_strange(self, instance: Instance) -> bool:
        """Whether it is none of the root's."""
        return instance.stranger and not self.host.adopted(self.record(instance.app).slots[instance.slot])

    def ask_keeper(self, what: str) -> None:
        """Somebody types the keeper's `start` or `stop`."""
        found = [one for one in self.instances if one.stranger]
        if what == "start" and not found:
            self._start_stranger("blog")
        for instance in found if what == "stop" else ():
            self.end_stranger(instance)

    def end_stranger(self, instance: Instance) -> None:
        """SIGTERM, and its end."""
        with self.changing():
            self.tell(instance)
        self.end(instance)

    def edit(self, app: str, ports: tuple[int, int], page: str) -> None:
        """Somebody edits substitute.toml: other ports, and a start line with the health check that fits."""
        was = self.apps[app]
        slots = {
            name: replace(slot, endpoints=(Endpoint("127.0.0.1", port),))
            for (name, slot), port in zip(was.slots.items(), ports, strict=True)
        }
        self.trail.append(f"  {app} is configured with the ports {ports} and {page}")
        edited = replace(was, slots=slots, start=f"serve {page}", health=replace(was.health, path=page))
        self.apps = {**self.apps, app: edited}

    def end(self, instance: Instance) -> None:
        if instance in self.instances:
            self.instances.remove(instance)

    # -- the rules ------------------------------------------------------------------------------

    def wrong(self, what: str) -> None:
        self.trail.append(f"  {self.clock.time:.2f} WRONG: {what}")
        self.wrongs.append(what)

    def should_serve(self, app: str) -> bool:
        """Whether a version of `app` is live, and nobody has said that it shall not be."""
        record = self.journal.app(app)
        return record.live is not None and not record.stopped and app not in self.retired

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Rules 1 and 4: what we do to the world makes no request fail, and leaves the last ready one reachable."""
        before = {app: (self._answered(app, all), self._answered(app, any)) for app in self.apps}
        yield
        for app, (all_answered, any_answered) in before.items():
            if all_answered and not self._answered(app, all, self.unseen) and self.should_serve(app):
                self.wrong(f"requests to {app} fail because of us")
            if any_answered and not self._answered(app, any, self.unseen) and self.should_serve(app):
                self.wrong(f"the last ready instance of {app} was taken out of the balancer")

    def led(self, app: str) -> None:
        """Rule 1, for the shares that a command has just chosen: where one is ready, no other gets a request."""
        if self._answered(app, any) and not self._answered(app, all, self.unseen):
            self.wrong(f"requests to {app} are sent where nothing is ready")

    def _answered(
        self, app: str, quantor: Callable[[Iterator[bool]], bool], excused: Collection[str] = ()
    ) -> bool:
        """Whether all, or any, of the requests to `app` are answered."""
        shares = [slot for slot, share in self.shares(app).items() if share]
        return bool(shares) and quantor(
            self.is_ready(self.endpoint(app, slot)) or f"{app}_{slot}" in excused for slot in shares
        )

    def hold_signposts(self, app: str) -> None:
        """What is served through the link is what is live, whenever traffic moves or an instance is to leave."""
        record = self.record(app)
        if (self.signpost(app), self.current(app)) != (record.next_slot, record.live):
            self.wrong(f"the signposts of {app} do not say that {record.live} is live")

    def tell(self, instance: Instance) -> None:
        """SIGTERM, with rules 2, 3 and 4."""
        app, slot = instance.app, instance.slot
        if instance.told is not None:
            return
        if instance in self.foreign or self.is_strange(instance):
            self.wrong(f"SIGTERM to {instance.name} of another root, or of nobody's here")
        if app == GUEST:
            self._tell_guest(instance)
            return
        should_serve, live = self.should_serve(app), self.journal.app(app).live
        self.hold_signposts(app)
        share = self.shares(app)[slot]
        if app not in self.subjects:
            self.wrong(f"{self.command} of another app sent SIGTERM to {instance.name}")
        if share:
            self.wrong(f"SIGTERM to {instance.name}, which gets {share} % of the requests")
        if self.balancer.cuts_off(instance):
            self.wrong(f"SIGTERM to {instance.name} with requests in flight")
        if should_serve and slot is live:
            self.wrong(f"SIGTERM to {instance.name}, which is live")
        other = f"{app}_{slot.other}" in self.unseen or self.is_ready(self.endpoint(app, slot.other))
        if should_serve and self.command != "check" and self.is_ready(instance.endpoint) and not other:
            self.wrong(f"SIGTERM to {instance.name}, the last that is ready")
        instance.told = self.clock.time
        if instance.version != "stubborn":
            self.clock.after(EXIT, self.end, instance)

    def _tell_guest(self, instance: Instance) -> None:
        if self.command not in {"start guest", "stop guest", "up", "down"}:
            self.wrong(f"{self.command} sent SIGTERM to a guest")
        instance.told = self.clock.time
        self.clock.after(EXIT, self.end, instance)

    def kill(self, instance: Instance) -> None:
        """SIGKILL, with rule 3."""
        if instance.told is None or self.clock.time < instance.told + STOP_LIMIT - 0.001:
            self.wrong(f"SIGKILL to {instance.name} before its limit")
        self.end(instance)

    def touch(self, directory: Path) -> None:
        """Rule 2: files change where nothing runs, and nobody else works."""
        for instance in self.instances:
            if instance.directory == directory:
                self.wrong(f"files of {instance.name} were changed while it ran")
        for app in self.subjects:
            record = self.journal.app(app)
            if record.live_slot and record.live_slot.directory == directory:
                self.wrong(f"files of the live slot {record.live} were changed")
        self.proven.pop(directory, None)
        if directory in self.builds.values():
            self.wrong(f"a build ran in {directory.name} while its files were changed")


# -- the ports ------------------------------------------------------------------------------------


class Statements:
    """A connection on which a signal may come right after a transaction has begun or ended."""

    def __init__(self, connection: sqlite3.Connection, world: World) -> None:
        self._connection = connection
        self._world = world

    def execute(self, statement: str, *parameters: object) -> object:
        done = self._connection.execute(statement, *parameters)  # type: ignore[arg-type]
        if statement.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            self._world.statement()
        return done

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


class ModelJournal(Journal):
    """The real one. A deployer may be killed, or the disk be full, in each transaction."""

    def __init__(self, world: World) -> None:
        super().__init__(world.journal_file)
        self._world = world
        self._known: dict[str, AppRecord] = {}
        self._db = cast("sqlite3.Connection", Statements(self._db, world))

    def backends(self) -> list[Backend]:
        self._world.look()
        return super().backends()

    def share(self, app: str, shares: Mapping[SlotName, int]) -> None:
        self._world.hold_signposts(app)
        super().share(app, shares)

    def commands(self, app: str) -> list[Process]:
        self._world.look()
        return super().commands(app)

    def app(self, name: str) -> AppRecord:
        """Read once from one write to the next: the rules look at each moment, a hundred times a sequence."""
        if name not in self._known or self._db.in_transaction:
            self._known[name] = super().app(name)
        return self._known[name]

    def on_the_disk(self) -> bytes:
        """The whole of it, as it would be found after a power cut right now."""
        return self._db.serialize()

    @contextmanager
    def _write(self, *, durably: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            with super()._write(durably=durably) as db:
                yield db
                what = sys._getframe(2).f_code.co_name  # a name in the story tells more than "a write"
                self._world.deed(f"journal: {what}", sqlite3.OperationalError("database or disk is full"))
        finally:
            self._known.clear()
        if durably:
            self._world.disk = self.on_the_disk()


@dataclass
class ModelRuntime:
    """Starts what crashes again, and leaves orphans when it is killed itself."""

    world: World
    running: bool = False
    known: dict[str, Process] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)

    def start(self, program: Program) -> Process:
        name = program.name
        self.world.deed(f"start {name}", RuntimeFailedError(f"{name} cannot be started."))
        if self.running and self.world.with_process(self.known.get(name)):
            raise RuntimeFailedError(f"{name} runs already.")
        self.running = True
        self.wanted.add(name)
        endpoint = Endpoint("127.0.0.1", int(program.environment["PORT"]))
        app, slot = (name, "a") if name == GUEST else name.rsplit("_", 1)
        if name != GUEST:
            self._hold_to_the_rules(program, app, SlotName(slot))
        self.known[name] = self.world.birth(app, SlotName(slot), program.directory, endpoint, program.command)
        return self.known[name]

    def _hold_to_the_rules(self, program: Program, app: str, slot: SlotName) -> None:
        """What starts is a finished build, and what was live is started as it was then."""
        record = self.world.journal.app(app).slots[slot]
        commit = record.commit or ""
        if self.world.command != "start" and self.world.files.get(program.directory) != Files(commit, commit):
            self.world.wrong(f"{program.name} was started from what is no finished build of {record.commit}")
        proven = self.world.proven.get(program.directory, program.command)
        if program.command != proven:
            self.world.wrong(f"{program.name} was proven by `{proven}` and started by `{program.command}`")

    def inspect(self, name: str) -> Inspection:
        self.world.look(name)
        if not self.running:
            return Inspection(None)
        instance = self.world.with_process(self.known.get(name))
        return Inspection(instance.process if instance else None, "exit status 1", name in self.wanted)

    def stop(self, name: str, process: Process | None, *, timeout: float) -> Stopped:
        began = self.world.clock.time
        instances = self._begin_to_stop(name, process)
        self.world.deed(f"wait for {name} to end")
        killed = False
        for instance in instances:
            while instance in self.world.instances and self.world.clock.time < began + timeout:
                self.world.host.clock.sleep(0.1)
            if instance in self.world.instances:
                self.world.kill(instance)
                killed = True
        return Stopped(killed, self.world.clock.time - began)

    def terminate(self, name: str, process: Process | None) -> None:
        self._begin_to_stop(name, process)

    def _begin_to_stop(self, name: str, process: Process | None) -> list[Instance]:
        self.world.deed(f"stop {name}", RuntimeFailedError(f"{name} cannot be ended."))
        ours = self.known.get(name) if self.running else None
        self.wanted.discard(name)
        running = [*self.world.instances, *self.world.foreign]
        found = [one for one in running if one.process in {ours, process}]
        with self.world.changing():
            for instance in found:
                self.world.tell(instance)
                if instance.process == ours:  # which kills it at its limit even if the deployer is no more
                    self.world.clock.after(STOP_LIMIT + 0.01, self._kill_late, instance)
        return found

    def _kill_late(self, instance: Instance) -> None:
        if self.running and self.known.get(instance.name) == instance.process:
            self.world.end(instance)

    def shutdown(self) -> None:
        self.world.deed("end the runtime", RuntimeFailedError("It cannot be ended."))
        for name, process in self.known.items():
            if self.world.with_process(process):
                self.world.wrong(f"the runtime was ended while it kept {name}")
        self.lose()

    def log(self, name: str, file: Path) -> FakeLog:
        return FakeLog()

    def trace(self, name: str) -> Process | None:
        self.world.look(name)
        ours = (one.process for one in self.world.instances if one.name == name and not one.stranger)
        return next(ours, None)

    def kept(self) -> set[str]:
        return set(self.wanted)

    def release(self, name: str) -> bool:
        return True

    def abandon(self) -> None:
        raise NotImplementedError

    def spawn(
        self, name: str, argv: Sequence[str], *, directory: Path, environment: Mapping[str, str], log: Path
    ) -> Callable[[], None]:
        raise NotImplementedError

    def last_lines(self, name: str, file: Path, count: int) -> list[str]:
        return []

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        raise NotImplementedError

    # What happens to it.

    def lose(self) -> None:
        self.running = False
        self.known.clear()
        self.wanted.clear()

    def ended(self, instance: Instance) -> None:
        if (
            self.running
            and self.known.get(instance.name) == instance.process
            and instance.name in self.wanted
        ):
            self.world.clock.after(AGAIN, self._start_again, instance)

    def _start_again(self, instance: Instance) -> None:
        name = instance.name
        if self.running and name in self.wanted and self.known.get(name) == instance.process:
            self.known[name] = self.world.birth(
                instance.app, instance.slot, instance.directory, instance.endpoint, instance.command
            )


@dataclass
class ModelBalancer:
    """Its file holds what it comes back with; what is in force it was told."""

    world: World
    running: bool = False
    file: dict[Endpoint, int] = field(default_factory=dict)
    in_force: dict[Endpoint, int] = field(default_factory=dict)
    left: dict[Endpoint, tuple[float, float]] = field(default_factory=dict)
    """Since when an endpoint gets no new requests, and when its last one ends."""
    uncounted: set[Endpoint] = field(default_factory=set)
    """Where a request is under way that the balancer has accepted and not yet counted."""
    blind_until: float = 0.0
    refuses: bool = False
    """It can bind to nothing that is new, say; what is in force stays so."""

    def route(self, backends: Sequence[Backend]) -> None:
        shares = {server.endpoint: server.share for backend in backends for server in backend.servers}
        told = " ".join(f"{endpoint.port}={share}" for endpoint, share in sorted(shares.items()))
        if self.refuses and shares != (self.in_force if self.running else None):
            raise UnmovedError("The balancer cannot bind.")
        self.world.deed(f"write the balancer's file: {told}", BalancerError("The balancer did not obey."))
        self.file = shares
        self.world.deed(f"route {told}", BalancerError("The balancer did not obey."))
        with self.world.changing():
            self._obey(shares)
        for app in self.world.subjects:
            self.world.led(app)
        self.world.deed("read it back", BalancerError("The balancer did not say so."))

    def _obey(self, shares: dict[Endpoint, int]) -> None:
        before = self.in_force if self.running else {}
        for endpoint, share in shares.items():
            if share:
                self.left.pop(endpoint, None)
                self._note_what_is_live(self.world.on(endpoint))
            elif before.get(endpoint) and (instance := self.world.on(endpoint)):
                now = self.world.clock.time
                self.left[endpoint] = (now, math.inf if instance.version == "busy" else now + 0.05)
                self.uncounted.add(endpoint)
        self.running, self.in_force = True, shares

    def _note_what_is_live(self, instance: Instance | None) -> None:
        if instance and self.world.journal.app(instance.app).live is instance.slot:
            self.world.proven.setdefault(instance.directory, instance.command)

    def pending(self, backends: Sequence[Backend]) -> str:
        del backends
        return ""

    def reload(self, backends: Sequence[Backend]) -> None:
        self.route(backends)

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        self.world.look()
        if self.world.clock.time < self.blind_until:
            raise UnobservedError("The balancer does not say.")
        if not self.running:
            return {}
        return {
            endpoint: Traffic(self._count(endpoint, share), 0, 0, share)
            for endpoint, share in self.in_force.items()
        }

    def _count(self, endpoint: Endpoint, share: int) -> int:
        if endpoint in self.uncounted:
            self.uncounted.discard(endpoint)
            return 0
        _, until = self.left.get(endpoint, (0.0, 0.0))
        return int(share > 0 or self.world.clock.time < until)

    def cuts_off(self, instance: Instance) -> bool:
        """Whether requests end with `instance` that had a right to go on."""
        since, until = self.left.get(instance.endpoint, (0.0, 0.0))
        now = self.world.clock.time
        return self.running and now < until and now < since + DRAIN_LIMIT

    def fronts(self) -> Sequence[str]:
        return ()

    def stop(self) -> None:
        self.world.deed("end the balancer", RuntimeFailedError("It cannot be ended."))
        with self.world.changing():
            self.running = False

    # What happens to it.

    def lose(self) -> None:
        if self.running:
            self.running = False
            self.left.clear()
            self.uncounted.clear()
            self.world.clock.after(AGAIN, self._come_back)

    def _come_back(self) -> None:
        if self.world.runtime.running and not self.running:
            self.running, self.in_force = True, dict(self.file)


@dataclass
class ModelSource:
    world: World

    def resolve(
        self, directory: Path, commit: str | None, *, fetch: bool = True, ours: bool = False
    ) -> Revision:
        self.world.deed(f"resolve {commit}", SourceError("The remote does not answer."))
        return Revision(commit or "v1", "a change", "branch main of origin")

    def update(self, directory: Path, commit: str, *, clean: bool) -> None:
        self.world.deed(f"update {directory.name} to {commit}", SourceError("git failed."))
        self.world.touch(directory)
        held = self.world.files.get(directory)
        self.world.files[directory] = Files(commit, held.built if held else "")

    def go_back(self, directory: Path, commit: str, *, left: str) -> None:
        self.update(directory, commit, clean=False)

    def returns(self, directory: Path, commit: str) -> bool:
        self.world.look()
        return directory in self.world.files

    def untracked(self, directory: Path, names: Sequence[str]) -> list[str]:
        return []

    def current(self, directory: Path) -> str | None:
        held = self.world.files.get(directory)
        return held.version if held else None

    def view(self, directory: Path, place: Path) -> Mapping[str, str]:
        return {}


@dataclass
class ModelCommands:
    """A build goes on when its deployer is killed."""

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
        what, is_build = argv[-1].rsplit("/", 1)[-1], argv[0] == "/bin/sh"
        self.world.deed(f"run {what} in {directory.name}", PermissionError(13, "Permission denied"))
        self.world.pids += 1
        process = Process(self.world.pids, self.world.pids, f"boot {self.world.boot}")
        try:
            on_start(process)
            if is_build:
                self.world.touch(directory)
                self.world.builds[process] = directory
                self.world.files[directory] = Files(self.world.files[directory].version)
            self.world.deed(f"wait for {what}")
        except Killed:
            raise
        except BaseException:
            self.world.builds.pop(process, None)
            raise
        if self.world.keeper and tuple(argv) in {self.world.keeper.start, self.world.keeper.stop}:
            self.world.ask_keeper(argv[1])
        if not is_build:
            return Finished(0, ())
        del self.world.builds[process]
        version = self.world.files[directory].version
        if version == "unbuildable":
            return Finished(1, ("error",))
        self.world.files[directory] = Files(version, built=version)
        return Finished(0, ())

    def scripts(self, directory: Path, *, user: str | None = None) -> Mapping[str, bool]:
        return {file.name: True for file in directory.iterdir()} if directory.is_dir() else {}

    def is_another(self, user: str | None) -> bool:
        return False

    def end(self, process: Process) -> None:
        self.world.deed(f"end the build {process.pid}")
        if process in self.world.foreign_builds:
            self.world.wrong("a build of another root was ended")
        self.world.builds.pop(process, None)

    def end_all(self, processes: Iterable[Process], *, timeout: float) -> bool:
        return False


@dataclass
class ModelStrangers:
    """What was not started here, and is kept by the world's keeper."""

    world: World

    def find(self, endpoint: Endpoint) -> Stranger | None:
        self.world.look()
        instance = self.world.on(endpoint)
        if instance is None:
            return None
        keeper = self.world.keeper if instance.stranger else None
        return Stranger(instance.process, instance.directory, None, keeper)

    def end(self, process: Process, *, timeout: float) -> bool:
        self.world.deed(f"end the stranger {process.pid}", RuntimeFailedError("It cannot be killed."))
        if instance := self.world.with_process(process):
            self.world.end_stranger(instance)
        return False


@dataclass
class ModelProber:
    world: World

    def holder(self, endpoint: Endpoint) -> str | None:
        instance = self._look(endpoint)
        return instance.name if instance else None

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        instance = self._look(endpoint)
        return instance.process == process if instance else None

    def listening(self, process: Process) -> frozenset[Endpoint]:
        return frozenset()

    def connected(self, endpoint: Endpoint) -> Connected | None:
        return None

    def marked(
        self, marks: Mapping[str, str], users: Iterable[str | None], root: Path
    ) -> Mapping[Process, str]:
        return {}

    def probe(self, endpoint: Endpoint, health: Health) -> Answer:
        self._look(endpoint)
        instance = self.world.on(endpoint)
        page = instance.command.removeprefix("serve ") if instance else ""
        good = self.world.is_ready(endpoint) and (health.kind == "tcp" or page == health.path)
        return Answer(good, "200" if good else "500")

    def is_elsewhere(self, process: Process, root: Path) -> bool:
        foreign = {one.process for one in self.world.foreign} | self.world.foreign_builds
        return process in foreign

    def alive(self, process: Process) -> bool:
        self.world.look()
        return self.world.with_process(process) is not None

    def age(self, process: Process) -> float:
        instance = self.world.with_process(process)
        return self.world.clock.time - instance.since if instance else 0.0

    def _look(self, endpoint: Endpoint) -> Instance | None:
        self.world.look(*(one.name for one in self.world.instances if one.endpoint == endpoint))
        return self.world.on(endpoint)


@dataclass
class ModelClock:
    """The deployer's view of it: one that was killed waits for nothing."""

    world: World

    def now(self) -> float:
        return 1_000_000 + self.world.clock.time

    def monotonic(self) -> float:
        return self.world.clock.time

    def sleep(self, seconds: float) -> None:
        self.world.look()
        self.world.clock.sleep(seconds)


@dataclass
class ModelConversation:
    world: World
    process: Process
    answered: bool

    def hear(self) -> Heard:
        instance = self.world.with_process(self.process)
        return Heard(200 if self.answered else None, "" if instance and instance.listens else "closed")

    def go_on(self) -> None:
        self.answered = True

    def progress(self) -> Progress:
        return Progress()

    def close(self) -> None:
        pass


@dataclass
class ModelObserver:
    world: World

    def members(self, endpoint: Endpoint, process: Process) -> tuple[Member, ...]:
        self.world.look()
        return (Member(process, "serve", listens=True),) if self.world.with_process(process) else ()

    def refuses(self, endpoint: Endpoint) -> bool:
        self.world.look()
        return self.world.on(endpoint) is None

    def ask(self, endpoint: Endpoint, request: Request) -> ModelConversation:
        self.world.look()
        instance = self.world.on(endpoint)
        process = instance.process if instance else Process(0, 0, "none")
        return ModelConversation(self.world, process, answered=request.hold is Hold.NOTHING)


def _app(root: Path, name: str) -> App:
    return App(
        name=name,
        root=root,
        repo="repo",
        branch=None,
        build=("make",),
        build_timeout=1800.0,
        clean=False,
        start="serve /",
        slots={
            slot: Slot(slot, root / f"{name}_{slot}", (Endpoint("127.0.0.1", port),))
            for slot, port in zip(SlotName, PORTS[name], strict=True)
        },
        domains=(f"{name}.example.com",),
        env={},
        health=Health("http", "/", None, timeout=1.0, interval=0.1, successes=2),
        drain_timeout=DRAIN_LIMIT,
        stop_timeout=STOP_LIMIT,
        verify_for=0.2,
        verify_share=50,
        hooks_timeout=60.0,
    )


def _write_hook(app: App, name: str) -> None:
    hooks = app.state_directory / "hooks"
    hooks.mkdir(parents=True, exist_ok=True)
    (hooks / name).write_text("#!/bin/sh\n")
    (hooks / name).chmod(0o755)
