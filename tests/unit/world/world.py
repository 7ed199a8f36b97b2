"""All that is outside of the core, and the rules."""

from __future__ import annotations

import shutil
import signal
import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from substitute.core.host import Host
from substitute.core.model.app_settings import Canary, CanaryStep, Standby
from substitute.core.model.apps import Order
from substitute.core.model.errors import SecretError, SubstituteError
from substitute.core.model.instances import WEB
from substitute.core.model.programs import Process
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.model.unexpected import expected
from tests.unit.fakes.load import FakeLoad
from tests.unit.world.apps import (
    GUEST,
    HEALTHY,
    PORTS,
    SECRETS,
    WAVES,
    endpoints_of,
    make_app,
    write_hook,
)
from tests.unit.world.balancer import ModelBalancer
from tests.unit.world.clock import Clock, ModelClock
from tests.unit.world.commands import ModelCommands
from tests.unit.world.edges import EdgeHost
from tests.unit.world.files import NAME, Data, ModelFiles, held_by
from tests.unit.world.instances import BOOT, EXIT, Instance
from tests.unit.world.journal import ModelJournal
from tests.unit.world.mishaps import LEFT_ALONE, SURPRISES, Killed, Mishap, Moments, Outcome, What
from tests.unit.world.observer import ModelObserver
from tests.unit.world.one_offs import ModelOneOffs
from tests.unit.world.prober import ModelProber
from tests.unit.world.rules import Rules
from tests.unit.world.running import ModelInstances
from tests.unit.world.runtime import ModelRuntime
from tests.unit.world.source import ModelSource
from tests.unit.world.strangers import ModelStrangers
from tests.unit.world.versions import GOOD, Files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from substitute.core.model.app_settings import Waves
    from substitute.core.model.records import AppRecord, SlotRecord
    from substitute.core.model.secrets import SecretSource
    from tests.unit.world.edges import Both


_IN_MEMORY = Path("/dev/shm")  # noqa: S108  # the journal waits for the disk: thousands of times here


class World:
    """All that is outside of the core, and the rules."""

    rebooted: frozenset[str] = frozenset()
    """Apps on which nobody has worked since the machine was rebooted."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="model-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None))
        (self.root / "deploy" / "run").mkdir(parents=True)
        self.apps = {name: make_app(self.root, name) for name in PORTS}
        for app in self.apps.values():
            for slot in app.slots.values():
                slot.directory.mkdir()
            write_hook(app, "running")
            write_hook(app, "pre_stop")
        self.guests_place = self.root / "elsewhere"
        self.guests_place.mkdir()
        (self.guests_place / "Procfile").write_text("web: serve /\n")
        self.clock = Clock()
        self.foreign: list[Instance] = []
        """What runs for the root that this one is a copy of, on other addresses. The journal still names it."""
        self.foreign_builds: set[Process] = set()
        self.instances: list[Instance] = []
        self.files: dict[Path, Files] = {}
        self.data = Data()
        self.builds: dict[Process, Path] = {}
        """Builds and releases that run."""
        self.runs: dict[Process, Path] = {}
        """Commands that somebody has typed, and where they run."""
        self.foreign_runs: set[Process] = set()
        self.schedulers: set[Process] = set()
        """All that run for this root, whether or not anything keeps them."""
        self.confined: set[str] = set()
        """Apps of whose builds something may be left, which did not stay in its process group."""
        self._pids, self.boot = 100, 1
        self.runtime = ModelRuntime(self)
        self.balancer = ModelBalancer(self)
        self.strangers = ModelStrangers(self)
        self.rules = Rules(self)
        self.wrongs: list[str] = []
        self.trail: list[str] = []
        self.command, self.subjects = "", frozenset[str]()
        self.retired: set[str] = set()
        """Apps that somebody wants not to serve: ``down`` and ``stop --force`` were typed last."""
        self.handed_over: set[str] = set()
        """Apps whose deployer has left a drain to its guardian."""
        self.waves: Waves | None = None
        """When streams are ended, by substitute.toml."""
        self.unseen: set[str] = set()
        """Instances that were harmed since anybody could look at them: their trouble is nobody's fault."""
        self._moments = Moments()
        self._dead = False
        self.edges: Both | None = None
        self.journal: ModelJournal
        self.host: Host
        self.open()
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
        self.command, self.subjects, self.deployer = command, frozenset(apps), self.new_process()
        self.unseen = {name for name in self.unseen if name.split("_")[0] not in apps}
        self._moments, self.balancer.refuses = Moments(mishaps), False
        self.trail += ["", f"$ {command} {' '.join(apps)}"]
        error, killed = self._ended(act)
        happened, self._moments = frozenset(self._moments.happened), Moments()
        if killed:
            self.journal.close()
            self._dead = False
            self.open()
        self.trail.append(f"# {'killed' if killed else error or 'done'}")
        if What.RAISE not in happened:
            self.promised("a failure is no bug", kept="bug in substitute" not in str(error))
        if isinstance(error, SubstituteError) and happened <= LEFT_ALONE:
            self.rules.words(apps, error)
        if lost := self.data.lost():
            self.wrong(f"what apps wrote is gone: {sorted(lost)}")
        for app in self.apps:
            self.rules.kept(app)
        if self.wrongs:
            raise AssertionError(self.story())
        return Outcome(error, killed, happened)

    def _ended(
        self, act: Callable[[Host], object]
    ) -> tuple[SubstituteError | KeyboardInterrupt | None, bool]:
        """Do `act`: the error that it ends with, and whether it was killed."""
        error: SubstituteError | KeyboardInterrupt | None = None
        try:
            act(self.host)
        except Killed:
            return None, True
        except (SubstituteError, KeyboardInterrupt) as raised:
            error = raised
        except Exception as raised:
            if not any(raised is one for one in SURPRISES):
                raise
            error = expected(raised)  # as the edge tells it
        return (None, True) if self._dead else (error, False)  # dead, whatever came then

    @contextmanager
    def unwatched(self, command: str) -> Iterator[None]:
        """Have somebody else do something in the middle of a command, with no mishaps of his own."""
        kept = self.command, self.subjects, self.deployer, self._moments
        self.command, self.subjects, self.deployer = command, frozenset(self.apps), self.new_process()
        self._moments = Moments()
        self.trail.append(f"  ({command}")
        try:
            yield
        finally:
            self.trail.append("  )")
            self.command, self.subjects, self.deployer, self._moments = kept

    def promised(self, what: str, *, kept: bool) -> None:
        """Hold what has come out against what was promised."""
        if not kept:
            self.wrong(f"not so: {what}")
            raise AssertionError(self.story())

    def story(self) -> str:
        """All that was done, and what was wrong with it."""
        return "\n".join(self.trail)

    def open(self) -> None:
        """A new process has this in its hands."""
        self.journal = ModelJournal(self)
        self.host = (EdgeHost if self.edges else Host)(
            root=self.root,
            journal=self.journal,
            balancer=self.balancer,
            runtime=self.runtime,
            instances=ModelInstances(self),
            prober=ModelProber(self),
            strangers=self.strangers,
            observer=ModelObserver(self),
            commands=ModelCommands(self),
            one_offs=ModelOneOffs(self),
            load=FakeLoad(),
            clock=ModelClock(self),
            emit=lambda _: None,
            source=lambda _: ModelSource(self),
            files=lambda _: ModelFiles(self),
            caller={"PATH": "/bin"},
            user="ada",
            guardian=lambda app: nullcontext(lambda: self.handed_over.add(app)),
            secret=self._ask,
            edges=self.edges.edges if self.edges else None,
            boot=lambda: f"boot {self.boot}",
        )

    def _ask(self, source: SecretSource, on_start: Callable[[Process], None]) -> str:
        self.deed(f"ask {source}", SecretError("Nobody is signed in."))
        on_start(self.new_process())
        return SECRETS[source.command or ""]

    # -- moments --------------------------------------------------------------------------------

    def look(self, *names: str) -> None:
        """Somebody looks at the instances called `names`."""
        self._moment(None)
        self.unseen.difference_update(names)

    def deed(self, what: str, failure: Exception | None = None) -> None:
        """Something is about to be done; `failure` is how that fails, if it can."""
        self._write()
        self._moment(failure, deed=True)
        self.trail.append(f"  {self.clock.time:.2f} {what}")

    def _write(self) -> None:
        """Each version writes what it has to keep, once it shares that, and sees what it wrote before."""
        for instance in self.instances:
            if instance.app in self.apps and not instance.stranger:
                held_by(self, instance)
                if self.apps[instance.app].shared:
                    self.data.write(instance.directory)

    def _moment(self, failure: Exception | None, *, deed: bool = False) -> None:
        if self._dead:
            raise Killed
        self.clock.sleep(0.001)
        if what := self._moments.call(deed=deed, failable=failure is not None):
            self.trail.append(f"! {what}")
            self._happen(what, failure)

    def die(self) -> NoReturn:
        """The deployer is killed."""
        self._dead = True
        raise Killed

    def statement(self) -> None:
        """A transaction has begun or ended."""
        for what in self._moments.statement():
            self.trail.append(f"! {what}")
            signal.raise_signal(signal.SIGINT)

    def _happen(self, what: What, failure: Exception | None) -> None:  # noqa: C901
        match what:
            case What.RAISE:
                raise self._moments.surprise
            case What.BLIND:
                self.balancer.blind_until = self.clock.time + 0.1
            case What.REFUSE:
                self.balancer.refuses = True
            case What.KILL:
                self.die()
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

    def crash(self, app: str, slot: SlotName, *, only: int | None = None) -> None:
        """All instances of a slot crash, or the one at the place `only` among them."""
        found = self.of(app, slot)
        for instance in found if only is None else found[only : only + 1]:
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
        self._end_everything()
        self.boot += 1
        if not lately_written:
            self.replace_journal(self.disk)

    def reboot(self) -> None:
        """The machine is rebooted, and what keeps instances starts them all again, as an engine of containers does."""
        self.trail += ["", "! the machine is rebooted, and instances are started again"]
        kept = [one for one in self.instances if self.runtime.keeps(one) and one.app != GUEST]
        self._end_everything()
        self.boot += 1
        self.runtime.boot(kept)
        self.rebooted = frozenset(self.apps)

    def _end_everything(self) -> None:
        self.clock.due.clear()
        self.instances.clear()
        self.builds.clear()
        self.runs.clear()
        self.schedulers.clear()
        self.confined.clear()
        self.runtime.lose()
        self.balancer.running = False

    def become_a_copy(self) -> None:
        """The root was moved aside and a copy put into its place: nothing that the journal names is this one's."""
        self.trail += ["", "! another root has taken the place of this one"]
        self.foreign += self.instances
        self.foreign_builds |= self.builds.keys()
        self.foreign_runs |= self.runs.keys()
        self._end_everything()

    def replace_journal(self, content: bytes) -> None:
        self.journal.close()
        for end in ("", "-wal", "-shm"):
            self.journal_file.with_name(self.journal_file.name + end).unlink(missing_ok=True)
        self.journal_file.write_bytes(content)
        self.open()

    # -- what is so -----------------------------------------------------------------------------

    @property
    def journal_file(self) -> Path:
        return self.root / "deploy" / (f"{self.edges.here}.db" if self.edges else "journal.db")

    def record(self, app: str) -> AppRecord:
        return self.journal.app(app)

    def signpost(self, app: str) -> str | None:
        """What ``next_deploy`` says."""
        path = self.apps[app].state_directory / "next_deploy"
        return path.read_text().strip() if path.exists() else None

    def current(self, app: str) -> str | None:
        """Which slot the link ``<app>_current`` leads to."""
        link = self.apps[app].current_link
        leads = link.readlink().name if link.is_symlink() else None
        slots = self.record(app).slots.values()
        return next((slot.name.value for slot in slots if slot.directory.name == leads), leads)

    def of(self, app: str, slot: SlotName | None = None) -> list[Instance]:
        return [one for one in self.instances if one.app == app and slot in {None, one.slot}]

    def has_crashed(self, slot: SlotRecord) -> bool:
        """Whether an instance that answers requests runs there which is not the one that was started."""
        known = {one.process for one in slot.web}
        return any(one.process not in known for one in self.of(slot.app, slot.name) if one.endpoint)

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
            and not instance.frozen
            and instance.version in GOOD
            and self.clock.time >= instance.since + BOOT
        )

    def shares(self, app: str) -> dict[SlotName, int]:
        """Where the balancer sends new requests, in percent."""
        found = self.balancer.in_force if self.balancer.running else {}
        return {slot: found.get(self.endpoint(app, slot), 0) for slot in SlotName}

    def waits(self, app: str) -> bool:
        """Whether its new requests wait in the balancer."""
        return self.balancer.running and app in self.balancer.waiting

    def runs_where_next(self, app: str) -> bool:
        """Whether somebody's command runs where the next version would go."""
        record = self.record(app)
        return record.slots[record.next_slot].directory in self.runs.values()

    def serves(self, app: str) -> bool:
        """Whether every request to `app` is answered."""
        return self.answered(app, all)

    def endpoint(self, app: str, slot: SlotName) -> Endpoint:
        """Where the slot's instance listens, or would."""
        return self.journal.app(app).slots[slot].endpoints[0]

    def guests(self) -> list[Instance]:
        return [one for one in self.instances if one.app == GUEST]

    def new_process(self) -> Process:
        self._pids += 1
        return Process(self._pids, self._pids, f"boot {self.boot}")

    def birth(self, like: Instance) -> Process:
        """A process starts as `like`; it may have ended by the time that somebody looks."""
        process = self.new_process()
        held = Files("v1") if like.app == GUEST else self.files.get(like.directory)
        taken = like.endpoint and self.on(like.endpoint)
        if held and held.version != "crashing" and not taken:
            if like.process_type == WEB:
                self.rules.alone(like.app)
            born = replace(like, process=process, version=held.version, since=self.clock.time)
            self.instances.append(replace(born, sick=False, told=None))
            self.data.seen.pop(self.instances[-1].name, None)
            self.data.write(like.directory)
        return process

    def keep(self, releases: int) -> None:
        """Have substitute.toml say how many versions of each app are kept."""
        self.apps |= {name: replace(app, releases=releases) for name, app in self.apps.items()}

    def stand_by(self, seconds: float, *, frozen: bool = False, assets: tuple[str, ...] = ()) -> None:
        """Have substitute.toml say how long the version before of each app runs on, and what it is asked for."""
        self.apps |= {
            name: replace(app, standby=Standby(seconds, frozen), assets=assets)
            for name, app in self.apps.items()
        }

    def run_once(self, app: str) -> None:
        """Have substitute.toml say that no two versions of `app` may run at the same time."""
        self.trail.append(f"  {app} must not run twice")
        known = self.apps[app]
        drain = replace(known.drain, background=False)
        self.apps[app] = replace(known, order=Order.STOP_FIRST, standby=Standby(), drain=drain)

    def drain_in_background(self, *, wanted: bool) -> None:
        """Have substitute.toml say whether deployments wait for the requests of the version before."""
        self.apps |= {
            name: replace(app, drain=replace(app.drain, background=wanted)) for name, app in self.apps.items()
        }

    def end_in_waves(self) -> None:
        """Have substitute.toml say that streams are ended in waves."""
        self.waves = WAVES
        self.apps |= {
            name: replace(app, drain=replace(app.drain, waves=WAVES)) for name, app in self.apps.items()
        }

    def run_canary(self) -> None:
        """Have substitute.toml say that clients come to a new version step by step."""
        steps = Canary((CanaryStep(10, 0.5), CanaryStep(50, 0.5)))
        self.apps |= {
            name: replace(app, canary=steps) for name, app in self.apps.items() if not app.runs_once
        }

    def edit(self, app: str, ports: tuple[int, int], page: str) -> None:
        """Somebody edits substitute.toml: other ports, and a start line with the health check that fits."""
        was = self.apps[app]
        slots = {
            name: replace(slot, endpoints=endpoints_of(app, port))
            for (name, slot), port in zip(was.slots.items(), ports, strict=True)
        }
        self.trail.append(f"  {app} is configured with the ports {ports} and {page}")
        by_command = page == "/up"
        health = replace(was.health, path=page, command=f"{HEALTHY}{page}" if by_command else "")
        signal = "SIGQUIT" if by_command else "SIGTERM"
        edited = replace(was, slots=slots, start=f"serve {page}", health=health, stop_signal=signal)
        self.apps = {**self.apps, app: edited}

    def share(self, app: str, *, shared: bool) -> None:
        """Somebody edits substitute.toml: both slots shall have ``data`` in common, or each its own."""
        self.trail.append(f"  {app} {'shares' if shared else 'does not share'} {NAME}")
        self.apps = {**self.apps, app: replace(self.apps[app], shared=(NAME,) if shared else ())}

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

    def answered(
        self, app: str, quantor: Callable[[Iterator[bool]], bool], excused: Collection[str] = ()
    ) -> bool:
        """Whether all, or any, of the requests to `app` are answered."""
        shares, slots = self.shares(app), self.record(app).slots
        reached = [one for name, slot in slots.items() if shares[name] for one in slot.web]
        return bool(reached) and quantor(
            self.is_ready(one.endpoints[0]) or one.name in excused for one in reached
        )

    def tell(self, instance: Instance, number: str) -> None:
        """The signal `number`."""
        if instance.told is not None:
            return
        if instance.frozen:
            self.wrong(f"{number} to {instance.name}, which is frozen")
        self.rules.told(instance, number)
        if self.edges:
            self.edges.require_free(instance)
        instance.told = self.clock.time
        if instance.version != "stubborn" or instance.app == GUEST:
            self.clock.after(EXIT, self.end, instance)

    def kill(self, instance: Instance) -> None:
        """SIGKILL."""
        self.rules.killed(instance)
        self.end(instance)

    def end_run(self, process: Process) -> None:
        """A command that somebody has typed is ended."""
        self.rules.run_ended(process)
        self.runs.pop(process, None)
