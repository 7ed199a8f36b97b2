"""Everything that a deployment works with on this machine, in one value."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.environment import apart, instance_environment
from substitute.core.model.errors import ConfigError, InterruptedByUserError, UnobservedError, UsageError
from substitute.core.model.events import Notice, Warned
from substitute.core.model.programs import Container, Inspection, Mount, Program
from substitute.core.model.slots import SlotName
from substitute.core.model.unexpected import expected
from substitute.core.polling import wait_while
from substitute.core.state import adopted
from substitute.core.state.lock import deployment_lock, own_lock, short_lock
from substitute.values import dataclass, field, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from substitute.core.model.apps import App
    from substitute.core.model.events import Emit
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.programs import Process
    from substitute.core.model.records import AppRecord, SlotRecord
    from substitute.core.model.secrets import SecretSource
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Balancer, Traffic
    from substitute.core.ports.clock import Clock
    from substitute.core.ports.commands import Commands
    from substitute.core.ports.edges import Edges
    from substitute.core.ports.engine import Engine
    from substitute.core.ports.files import Files
    from substitute.core.ports.instances import Instances
    from substitute.core.ports.load import Load
    from substitute.core.ports.observer import Observer
    from substitute.core.ports.one_offs import OneOffs
    from substitute.core.ports.prober import Prober
    from substitute.core.ports.runtime import Runtime
    from substitute.core.ports.source import Source
    from substitute.core.ports.strangers import Strangers
    from substitute.core.state.adopted import Adopted
    from substitute.core.state.journal import Journal
    from substitute.core.state.lock import Lock

_PATIENCE, _TICK = 1.0, 0.02

ROUTES = own_lock("routes")


@dataclass(frozen=True)
class Host:
    """A root with its journal, and the adapters that were chosen for it."""

    root: Path
    journal: Journal
    balancer: Balancer
    runtime: Runtime
    instances: Instances
    prober: Prober
    strangers: Strangers
    observer: Observer
    commands: Commands
    one_offs: OneOffs
    clock: Clock
    emit: Emit
    source: Callable[[App], Source]
    caller: Mapping[str, str]
    """PATH, HOME, USER, LANG and TZ of the command that was typed."""
    user: str
    """Who typed it, for the history."""
    guardian: Callable[[str], AbstractContextManager[Callable[[], None]]]
    """Watches over a deployment of the named app: if this process dies in it, the guardian settles. Calling the
    function that it yields makes the guardian settle at the end as well."""
    files: Callable[[App], Files]
    """Those of an app's slots, and of what they share."""
    load: Load
    secrets: Callable[[str], Mapping[str, str]] = lambda _: {}
    """What an `env_file` says now. Raises ConfigError."""
    secret: Callable[[SecretSource, Callable[[Process], None]], str] = lambda *_: ""
    """The value of a secret, as it is now; a command that gives it is told when it starts. Raises SecretError."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The whole environment of the command that was typed."""
    dismiss: Callable[[str], None] = lambda _: None
    """Ends what sleeps until the standby of the named app has had its time. The caller holds the app's lock."""
    engine: Callable[[], Engine | None] = lambda: None
    """What runs containers here, where anything does."""
    wait: float = 0.0
    """Seconds for which another command on the same app is waited for."""
    edges: Edges | None = None
    """The other machines that lead requests to the same slots of a cluster."""

    def lock(self, path: Path, operation: str) -> AbstractContextManager[Lock]:
        """Hold the lock at `path` for `operation`. Raises LockedError."""
        return deployment_lock(path, operation, wait=self.wait, tell=lambda whom: self.emit(Notice(whom)))

    def lock_path(self, app: str) -> Path:
        """The file whose lock is held while `app` is worked on."""
        return self._run / f"{app}.lock"

    def guest_lock_path(self, guest: str) -> Path:
        """The file whose lock is held while `guest` is started or stopped. No app's name has a dot."""
        return self._run / f"{guest}.guest.lock"

    def kept_secrets(self, instance: str) -> Path:
        """The file that keeps the values which `instance` was started with."""
        return self._run / f"{instance}.secrets"

    @property
    def _run(self) -> Path:
        return self.root / "deploy" / "run"

    def route(self, app: str, shares: Mapping[SlotName, int]) -> None:
        """Give the slots of `app` these shares, in the journal and then in the balancer.

        The balancer serves all apps of the root, and two may be deployed at once: so a short lock.
        """
        with short_lock(self._run / ROUTES):
            record = self.journal.app(app)
            known = {name: slot.share for name, slot in record.slots.items()}
            # Each write has the app read again.
            if record.waits_since is not None or known | dict(shares) != known:
                self.journal.share(app, shares)
            self.balancer.route(self.journal.backends())
        if record.waits_since is not None:
            self._tell_the_wait(record, self.clock.now() - record.waits_since)

    def _tell_the_wait(self, record: AppRecord, seconds: float) -> None:
        """How long requests waited while no version had a share, and whether that was too long."""
        limit = record.longest_wait or 0.0
        if seconds <= limit:
            self.emit(
                Notice(
                    f"Requests to {record.name} waited in the balancer for {max(seconds, 0.0):.1f}s at most."
                )
            )
        else:
            told = f"Requests to {record.name} waited in the balancer for {limit:g}s (hold), and then got status 503"
            self.emit(Warned(f"{told}: no version served for {seconds:.1f}s."))

    def let_wait(self, app: str) -> None:
        """Have new requests of `app` wait in the balancer until `route` says where they go."""
        if why := self.pending(app, dict.fromkeys(SlotName, 0)):
            self.emit(Notice(f"The balancer is reloaded. {why}"))
            self.reload(app, {})
        with short_lock(self._run / ROUTES):
            self.journal.let_wait(app, now=self.clock.now())
            self.balancer.route(self.journal.backends())

    def _await_waiting(self) -> None:
        """Wait until no request waits for a version that runs: a reload leaves it behind. As long as one may wait."""
        limit = max(
            (self.journal.app(name).longest_wait or 0.0 for name in self.journal.names()), default=0.0
        )
        wait_while(self._waiting, limit, _TICK, clock=self.clock)

    def _waiting(self) -> bool:
        return any(backend.waits for backend in self.journal.backends())

    def pending(self, app: str, shares: Mapping[SlotName, int]) -> str:
        """What the balancer must reload for before the slots of `app` can have these shares, or empty.

        Nothing while requests of `app` wait: it was reloaded before they did.
        """
        if self.journal.app(app).waits_since is not None:
            return ""
        backends = [
            replace(
                backend,
                servers=tuple(replace(server, share=shares[server.slot]) for server in backend.servers),
            )
            if backend.app == app
            else backend
            for backend in self.journal.backends()
        ]
        return self.balancer.pending(backends)

    def reload(self, app: str, shares: Mapping[SlotName, int]) -> None:
        """Do what `route` does, and have the balancer reload for it."""
        self._await_waiting()
        with short_lock(self._run / ROUTES):
            self.journal.share(app, shares)
            self.balancer.reload(self.journal.backends())

    def renew(self) -> None:
        """Bring into force what the balancer has to reload for, whatever app it is for. Raises BalancerError."""
        if self.balancer.pending(self.journal.backends()):
            self._await_waiting()
        with short_lock(self._run / ROUTES):
            backends = self.journal.backends()
            if why := self.balancer.pending(backends):
                self.emit(Notice(f"The balancer is reloaded. {why}"))
                self.balancer.reload(backends)

    def previews(self, app: str) -> Sequence[str]:
        """The links by which a browser gets what is held of `app`; empty where nothing is, or the balancer can't."""
        backend = next((one for one in self.journal.backends() if one.app == app), None)
        return self.balancer.previews(backend) if backend else ()

    def reroute(self) -> None:
        """Have the balancer look once more at what it was told; cheap where nothing has changed. Never raises."""
        try:
            with short_lock(self._run / ROUTES):
                self.balancer.route(self.journal.backends())
        except Exception as error:  # noqa: BLE001  # nothing hangs on it
            self.emit(Warned(expected(error).reason))

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        """What the balancer observes, asked again for a moment; None where it can never be known.

        Raises UnobservedError.
        """
        deadline = self.clock.monotonic() + _PATIENCE
        while True:
            try:
                return self.balancer.traffic()
            except UnobservedError:
                if self.clock.monotonic() >= deadline:
                    raise
                self.clock.sleep(_TICK)

    def inspect(self, instance: InstanceRecord) -> Inspection:
        """Observe an instance; one that its runtime lost or hides is found by the journal's memory.

        Or by its trace: a runtime that had started it again, and then died, took what it knew with it.
        """
        try:
            seen = self.runtime.inspect(instance.name)
        except InterruptedByUserError:
            raise  # the handler of a signal raised it; it happened to be in here
        except Exception:  # noqa: BLE001  # silent: what it keeps is not known, who runs the kernel knows
            seen = Inspection(None, wanted=True, ready=False)
        if seen.process:
            return seen
        known = instance.process
        if known and self.instances.alive(known) and self.is_ours(known, instance.directory):
            return replace(seen, process=known)
        if adopted := self.adopted_as(instance):
            return replace(seen, process=self._started_again(instance, adopted))
        traced = self.runtime.trace(instance.name)
        return replace(seen, process=traced) if traced and self.is_ours(traced, instance.directory) else seen

    def wake(self, slot: SlotRecord) -> None:
        """Have the web instances of `slot` run on, where they were frozen."""
        for one in slot.web:
            self.runtime.thaw(one.name)

    def runs(self, slot: SlotRecord) -> bool:
        """Whether any instance of `slot` does."""
        return any(self.running(one) for one in slot.instances)

    def running(self, instance: InstanceRecord) -> Process | None:
        """Its process: the one that the journal knows, or where that is gone the one that is observed."""
        known = instance.process
        if known and self.instances.alive(known) and self.is_ours(known, instance.directory):
            return known
        return self.inspect(instance).process

    def answering(self, instance: InstanceRecord) -> Sequence[Endpoint]:
        """Those of its endpoints at which it is to be asked now."""
        return self.instances.answering(instance.name, instance.endpoints)

    def adopted(self, slot: SlotRecord) -> Adopted | None:
        """What is remembered of the app in `slot` where that was adopted, and not started here."""
        return self._adopted(slot.app, slot.name)

    def adopted_as(self, instance: InstanceRecord) -> Adopted | None:
        """As `adopted`, by an instance."""
        return None if instance.is_guest else self._adopted(instance.app, instance.slot)

    def _adopted(self, app: str, slot: SlotName) -> Adopted | None:
        found = adopted.read(self.journal.fact(adopted.fact_of(app)))
        return found if found and found.slot is slot else None

    def _started_again(self, instance: InstanceRecord, known: Adopted) -> Process | None:
        """The process that an adopted app has now: another one by the same keeper's doing is the same app."""
        with suppress(UsageError):
            stranger = known.keeper and self.strangers.find(instance.endpoints[0])
            if stranger and stranger.keeper and stranger.keeper.is_same(known.keeper):
                return stranger.process
        return None

    def is_ours(self, process: Process, directory: Path | None = None) -> bool:
        """Whether a process that the journal names may be signalled: what runs for another root never is.

        Only a guest's `directory` may lie outside of the root.
        """
        may_be_outside = directory is not None and not directory.is_relative_to(self.root)
        return may_be_outside or not self.instances.is_elsewhere(process, self.root)

    def process_of(self, instance: InstanceRecord) -> Process | None:
        """The process to end with an instance: the one that runs, or what the one that ran may have left behind."""
        process = self.running(instance)
        if process is None and instance.process and self.is_ours(instance.process, instance.directory):
            return instance.process
        return process

    def proven(self, app: App, slot: SlotRecord) -> App:
        """`app` as the version in `slot` was proven; as the configuration has it, where that is not known.

        Raises ConfigError where an `env_file` cannot be used: it is not to run without its variables.
        """
        version = slot.version
        if version and (app.remembered or version.env_file != app.secrets.file):
            try:
                return version.applied_to(app, self.secrets(version.env_file) if version.env_file else {})
            except ConfigError as error:
                if app.remembered or app.secrets.problem:
                    raise
                self.emit(
                    Warned(
                        f"Slot {slot.name} is started with the current variables of substitute.toml: {error.reason}"
                    )
                )
        if app.secrets.problem:
            raise ConfigError(f"{app.name} cannot be started.", problems=(app.secrets.problem,))
        return version.applied_to(app, app.secrets.of_file) if version else app

    def environment(self, app: App, slot: SlotRecord) -> Mapping[str, str]:
        """PATH, HOME and the like: of the command that proved what `slot` holds, else of the latest deployment."""
        if slot.version:
            return slot.version.caller
        return self.journal.environment(app.name) or self.caller

    def program(
        self, app: App, slot: SlotRecord, instance: InstanceRecord, caller: Mapping[str, str]
    ) -> Program:
        """What the runtime is to run as `instance` of `slot`, in the environment of `caller`."""
        settings = app.of(instance.process_type)
        return Program(
            name=instance.name,
            command=settings.start,
            directory=slot.place(app),
            environment={
                **({} if app.image.id else apart(slot)),
                **instance_environment(settings, slot, caller, instance),
            },
            container=self.container(app, instance.endpoints),
            log=log_of(app, instance),
            stop_timeout=settings.stop_timeout,
            stop_signal=settings.stop_signal,
            user=settings.user,
            limits=settings.limits,
            protections=settings.protections,
            notifies=settings.notifies or slot.clustered,
            fields=self._fields(app, slot, instance),
            replicas=app.replicas if instance.endpoints else 1,
            health=settings.health,
        )

    def container(self, app: App, endpoints: Sequence[Endpoint] = ()) -> Container | None:
        """What a program of `app` runs in, which answers on `endpoints`; None: on this machine itself.

        What is shared is where it would be in a slot: a path in the directory in which the image's programs start.
        """
        engine = self.engine() if app.image.id else None
        if engine is None:
            return None
        inside = Path(engine.directory_of(app.image.id) if app.shared else "/")
        port = app.image.port
        return Container(
            app.image.id,
            tuple(Mount(app.shared_directory / one, inside / one) for one in map(_plain, app.shared)),
            dict.fromkeys(endpoints, port) if port else {},
            app.limits,
        )

    def _fields(self, app: App, slot: SlotRecord, instance: InstanceRecord) -> dict[str, str]:
        """What finds its lines again: its slot and process, and the deployment that started it, if any did."""
        under_way = [one.id for one in self.journal.unfinished(app.name) if one.slot is slot.name]
        known = {"COMMIT": slot.commit, "DEPLOYMENT": str(under_way[-1]) if under_way else None}
        known |= {"PROCESS": instance.process_type, "INSTANCE": str(instance.number)}
        found = {"ROOT": str(self.root), "APP": app.name, "SLOT": slot.name.value, **known}
        return {f"SUBSTITUTE_{name}": value for name, value in found.items() if value}


def _plain(path: str) -> str:
    return path.rstrip("/")


def log_of(app: App, instance: InstanceRecord) -> Path:
    """Where an instance writes, where its runtime keeps files."""
    return app.log_directory / f"{instance.short_name}.log"
