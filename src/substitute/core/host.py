"""Everything that a deployment works with on this machine, in one value."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from substitute.core.model.environment import apart, instance_environment
from substitute.core.model.errors import ConfigError, InterruptedByUserError, UnobservedError, UsageError
from substitute.core.model.events import Notice, Warned
from substitute.core.model.programs import Inspection, Program
from substitute.core.model.unexpected import expected
from substitute.core.state import adopted
from substitute.core.state.lock import own_lock, short_lock
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from substitute.core.model.apps import App
    from substitute.core.model.events import Emit
    from substitute.core.model.programs import Process
    from substitute.core.model.records import SlotRecord
    from substitute.core.model.slots import Endpoint, SlotName
    from substitute.core.ports.balancer import Balancer, Traffic
    from substitute.core.ports.clock import Clock
    from substitute.core.ports.commands import Commands
    from substitute.core.ports.observer import Observer
    from substitute.core.ports.prober import Prober
    from substitute.core.ports.runtime import Runtime
    from substitute.core.ports.source import Source
    from substitute.core.ports.strangers import Strangers
    from substitute.core.state.adopted import Adopted
    from substitute.core.state.journal import Journal

_PATIENCE, _TICK = 1.0, 0.02

ROUTES = own_lock("routes")


@dataclass(frozen=True)
class Host:
    """A root with its journal, and the adapters that were chosen for it."""

    root: Path
    journal: Journal
    balancer: Balancer
    runtime: Runtime
    prober: Prober
    strangers: Strangers
    observer: Observer
    commands: Commands
    clock: Clock
    emit: Emit
    source: Callable[[App], Source]
    caller: Mapping[str, str]
    """PATH, HOME, USER, LANG and TZ of the command that was typed."""
    user: str
    """Who typed it, for the history."""
    guardian: Callable[[str], AbstractContextManager[Callable[[], None]]]
    """Watches over a deployment of the named app: if this process dies in it, somebody settles. So does somebody at its
    end where what is entered was called in it."""
    secrets: Callable[[str], Mapping[str, str]] = lambda _: {}
    """What an `env_file` says now. Raises ConfigError."""

    def lock_path(self, app: str) -> Path:
        """The file whose lock is held while `app` is worked on."""
        return self._run / f"{app}.lock"

    def guest_lock_path(self, guest: str) -> Path:
        """The file whose lock is held while `guest` is started or stopped. No app's name has a dot."""
        return self._run / f"{guest}.guest.lock"

    @property
    def _run(self) -> Path:
        return self.root / "deploy" / "run"

    def route(self, app: str, shares: Mapping[SlotName, int]) -> None:
        """Give the slots of `app` these shares, in the journal and then in the balancer.

        The balancer serves all apps of the root, and two may be deployed at once: so a short lock.
        """
        with short_lock(self._run / ROUTES):
            self.journal.share(app, shares)
            self.balancer.route(self.journal.backends())

    def pending(self, app: str, shares: Mapping[SlotName, int]) -> str:
        """What the balancer must reload for before the slots of `app` can have these shares, or empty."""
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
        with short_lock(self._run / ROUTES):
            self.journal.share(app, shares)
            self.balancer.reload(self.journal.backends())

    def renew(self) -> None:
        """Bring into force what the balancer has to reload for, whatever app it is for. Raises BalancerError."""
        with short_lock(self._run / ROUTES):
            backends = self.journal.backends()
            if why := self.balancer.pending(backends):
                self.emit(Notice(f"The balancer is reloaded. {why}"))
                self.balancer.reload(backends)

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

    def inspect(self, slot: SlotRecord) -> Inspection:
        """Observe the instance of `slot`; one that its runtime lost or hides is found by the journal's memory.

        Or by its trace: a runtime that had started it again, and then died, took what it knew with it.
        """
        try:
            seen = self.runtime.inspect(slot.instance)
        except InterruptedByUserError:
            raise  # the handler of a signal raised it; it happened to be in here
        except Exception:  # noqa: BLE001  # silent: what it keeps is not known, who runs the kernel knows
            seen = Inspection(None, wanted=True, ready=False)
        if seen.process:
            return seen
        if slot.process and self.prober.alive(slot.process) and self.is_ours(slot.process, slot.directory):
            return replace(seen, process=slot.process)
        if known := self.adopted(slot):
            return replace(seen, process=self._started_again(slot, known))
        traced = self.runtime.trace(slot.instance)
        return replace(seen, process=traced) if traced and self.is_ours(traced, slot.directory) else seen

    def adopted(self, slot: SlotRecord) -> Adopted | None:
        """What is remembered of the app in `slot` where that was adopted, and not started here."""
        found = None if slot.instance_name else adopted.read(self.journal.fact(adopted.fact_of(slot.app)))
        return found if found and found.slot is slot.name else None

    def _started_again(self, slot: SlotRecord, known: Adopted) -> Process | None:
        """The process that an adopted app has now: another one by the same keeper's doing is the same app."""
        with suppress(UsageError):
            stranger = known.keeper and self.strangers.find(slot.endpoints[0])
            if stranger and stranger.keeper and stranger.keeper.is_same(known.keeper):
                return stranger.process
        return None

    def is_ours(self, process: Process, directory: Path | None = None) -> bool:
        """Whether a process that the journal names may be signalled: what runs for another root never is.

        Only a guest's `directory` may lie outside of the root.
        """
        abroad = directory is not None and not directory.is_relative_to(self.root)
        return abroad or not self.prober.is_elsewhere(process, self.root)

    def process_of(self, slot: SlotRecord) -> Process | None:
        """The process to end with `slot`: the one that runs, or what the one that ran may have left behind."""
        process = self.inspect(slot).process
        if process is None and slot.process and self.is_ours(slot.process, slot.directory):
            return slot.process
        return process

    def proven(self, app: App, slot: SlotRecord) -> App:
        """`app` as the version in `slot` was proven; as the configuration has it, where that is not known.

        Raises ConfigError where an `env_file` cannot be used: it is not to run without its variables.
        """
        version = slot.version
        if version and (app.remembered or version.env_file != app.env_file):
            try:
                return version.applied_to(app, self.secrets(version.env_file) if version.env_file else {})
            except ConfigError as error:
                if app.remembered or app.env_file_problem:
                    raise
                self.emit(
                    Warned(
                        f"Slot {slot.name} is started with the current variables of substitute.toml: {error.reason}"
                    )
                )
        if app.env_file_problem:
            raise ConfigError(f"{app.name} cannot be started.", problems=(app.env_file_problem,))
        return version.applied_to(app, app.secrets) if version else app

    def environment(self, app: App, slot: SlotRecord) -> Mapping[str, str]:
        """PATH, HOME and the like: of the command that proved what `slot` holds, else of the latest deployment."""
        if slot.version:
            return slot.version.caller
        return self.journal.environment(app.name) or self.caller

    def program(self, app: App, slot: SlotRecord, caller: Mapping[str, str]) -> Program:
        """What the runtime is to run for `slot`, with the endpoints of the journal, in the environment of `caller`."""
        return Program(
            name=slot.instance,
            command=app.start,
            directory=slot.directory,
            environment={**apart(slot), **instance_environment(app, slot, caller)},
            log=app.log_directory / f"{slot.name}.log",
            stop_timeout=slot.stop_timeout,
            user=app.user,
            limits=app.limits,
            protections=app.protections,
            notifies=app.notifies,
            fields=self._fields(app, slot),
        )

    def _fields(self, app: App, slot: SlotRecord) -> dict[str, str]:
        """What finds the lines of this instance again: its slot, and the deployment that started it, if any did."""
        under_way = [one.id for one in self.journal.unfinished(app.name) if one.slot is slot.name]
        known = {"COMMIT": slot.commit, "DEPLOYMENT": str(under_way[-1]) if under_way else None}
        found = {"ROOT": str(self.root), "APP": app.name, "SLOT": slot.name.value, **known}
        return {f"SUBSTITUTE_{name}": value for name, value in found.items() if value}
