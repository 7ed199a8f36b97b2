"""The one function that repairs: it brings everything to what the journal says.

The live slot runs, is ready and gets all new requests; any other instance gets none, finishes its requests,
gets SIGTERM, and is killed only past its time limit. Deployments end in it, failures and interruptions end in
it, and so does the recovery from a killed deployer or a reboot. Run twice, the second changes nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import field, replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from substitute.core.deploy.draining import drain, stop_and_count
from substitute.core.deploy.early_exit import explained
from substitute.core.deploy.instances import remains, start_instance
from substitute.core.deploy.keeper import start_again
from substitute.core.deploy.pointers import write_pointers
from substitute.core.deploy.previous_version import put_back
from substitute.core.deploy.readiness import PATIENCE, answers, answers_in_time, await_ready
from substitute.core.model.desired import STOPPED
from substitute.core.model.errors import InterruptedByUserError, LeftoverError, NotReadyError, SubstituteError
from substitute.core.model.events import Drained, Notice, Warned
from substitute.core.model.slots import Phase, SlotName
from substitute.core.model.unexpected import expected
from substitute.core.model.versions import Version
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from substitute.core.host import Host
    from substitute.core.interrupts import Interrupts
    from substitute.core.model.apps import App
    from substitute.core.model.desired import Desired
    from substitute.core.model.records import AppRecord, DeploymentRecord, SlotRecord

_ROUNDS = 2
"""How often the slots may change places while one of them leaves."""
_TRIES, _PAUSE = 3, 0.1
"""How often something that nobody foresaw may come up, and the seconds between."""


class Steps(Protocol):
    """What settling tells the deployment that it is part of."""

    @property
    def id(self) -> int | None:
        """The deployment, which is not a leftover; None outside one."""

    def phase(self, phase: Phase) -> AbstractContextManager[None]:
        """Entered for the time of a phase."""

    def hook(self, name: str) -> None:
        """Called where a hook of the user's has its place. Never raises."""


@dataclass(frozen=True)
class Quietly:
    """Recovery, or giving up: no phases shown, no hooks run."""

    id: int | None = None
    interrupts: Interrupts | None = None
    """A second signal may hand a drain over to the guardian."""

    def phase(self, phase: Phase) -> AbstractContextManager[None]:
        """Show nothing."""
        if self.interrupts and phase is Phase.DRAIN:
            return self.interrupts.handing_over()
        return nullcontext()

    def hook(self, name: str) -> None:
        """Run nothing."""


@dataclass(frozen=True)
class Settled:
    """What settling came to."""

    live: SlotName | None
    """The slot that is live now; another one than the journal's where that one was down."""
    problem: str = ""
    """Why nothing serves, or empty."""
    drained: Drained = field(default_factory=Drained)


def settle(
    host: Host,
    app: App,
    steps: Steps | None = None,
    *,
    serve: bool = True,
    interrupts: Interrupts | None = None,
) -> Settled:
    """Make the world match the journal for `app`. The caller holds the app's lock.

    Without `serve` no slot is to serve for now, and the journal stays as it is. A live slot that cannot be revived
    is a `problem` and no exception: the fix must get through. `interrupts` may end the waits, and nothing else.

    Raises LeftoverError where something that shall not run could not be stopped; all else is done then. Any other
    error: traffic could not be moved, or not everything could be looked at; then nothing was stopped.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            return _Settling(host, app, steps or Quietly(), serve, interrupts).run()
        except SubstituteError:
            raise
        except Exception as error:
            # Nobody foresaw it; to settle again is no harm, and may be all that was missing.
            if not tries_left:
                with suppress(Exception):
                    _lead_to_live(host, app, serve=serve)
                raise expected(error) from error
            host.clock.sleep(_PAUSE)
    raise AssertionError


def _lead_to_live(host: Host, app: App, *, serve: bool) -> None:
    """What can be done blindly: a candidate that nobody watches any more gets no requests, if the live one answers."""
    record = host.journal.app(app.name)
    live = record.live_slot if serve and not record.stopped else None
    if live is None or answers(host, app, live):
        host.route(app.name, {name: 100 if live and name is live.name else 0 for name in SlotName})


@dataclass(frozen=True)
class Seen:
    """Who gives good answers. What is decided depends on nothing else."""

    live: bool
    """The live slot does."""
    other: bool
    """The other one does."""
    other_may: bool
    """The other one was live before and still gets requests: it may be live again at once."""
    down: str = ""
    """Why the live one could not be started again, where that was tried."""


class Step(Enum):
    """What brings the world nearer to what is desired."""

    SERVE = "The live slot answers: it gets the requests."
    GO_BACK = "The other slot answers, and the live one does not: the other one is live again."
    REVIVE = "Nobody can take over: the live slot is started again."
    REPORT = "Nobody answers, and nothing can be done about it here."


def decide(seen: Seen) -> Step:
    """Choose the slot that shall serve, so that the last one that answers is never taken out of the balancer.

    One that was never live takes the place only of one that cannot be started again.
    """
    if seen.live:
        return Step.SERVE
    if seen.other and (seen.other_may or seen.down):
        return Step.GO_BACK
    return Step.REPORT if seen.down else Step.REVIVE


@dataclass
class _Settling:
    """One pass of it, and what it could not do on its way."""

    host: Host
    app: App
    steps: Steps
    serve: bool
    interrupts: Interrupts | None
    left: list[SubstituteError] = field(default_factory=list)

    def run(self) -> Settled:
        self._end_leftovers()
        live, problem, drained = self._converge()
        put_back(self.host, self.app)
        if self.left:
            raise LeftoverError(self.left, live, problem, drained)
        return Settled(live, problem, drained)

    def _converge(self) -> tuple[SlotName | None, str, Drained]:
        """Who serves, why nobody does, and what became of the requests of the one that left."""
        drained: Drained | None = None
        for _ in range(_ROUNDS):
            live, problem = self._bring_up()
            write_pointers(self.host, self.app)  # one who was killed after a commit has not
            record = self.host.journal.app(self.app.name)
            desired = self._desired(record)
            shares = {name: wanted.share for name, wanted in desired.items()}
            if live and problem and _is_taken(self.host, record.slots[live]):
                shares[live] = 0  # its requests are not for whoever listens there
            self.host.route(self.app.name, shares)
            leaving = [slot for slot in record.slots.values() if not desired[slot.name].runs]
            drained = self._retire(leaving, record.slots[live] if live else None)
            if drained is not None:
                break
            # The one that was to leave is live again. Now the other one leaves, without its hooks.
            self.steps = Quietly(self.steps.id)
        return live, problem, drained or Drained()

    def _desired(self, record: AppRecord) -> Mapping[SlotName, Desired]:
        return record.desired if self.serve else dict.fromkeys(record.slots, STOPPED)

    # -- who serves -----------------------------------------------------------------------------

    def _bring_up(self) -> tuple[SlotName | None, str]:
        """Have a slot serve that is desired to: which one, and why it does not."""
        record = self.host.journal.app(self.app.name)
        live = record.live_slot
        if live is None or not self.serve:
            return None, ""
        if record.stopped:
            return None, "It was stopped by hand."
        other, down = record.slots[live.name.other], ""
        while (step := decide(self._look(live, other, down))) is Step.REVIVE:
            down = self._revived(live)
            if not down:
                return live.name, ""
        if step is Step.GO_BACK:
            return self._go_back(other), ""
        if step is Step.REPORT:
            self.host.emit(Warned(f"The live slot {live.name} could not be started again. {down}"))
        return live.name, down

    def _revived(self, live: SlotRecord) -> str:
        """Start it again; why that is of no use, or empty."""
        try:
            self._revive(live)
        except InterruptedByUserError:
            raise
        except SubstituteError as error:
            return error.reason
        return ""

    def _look(self, live: SlotRecord, other: SlotRecord, down: str) -> Seen:
        host, app = self.host, self.app
        if not down:
            with self._waiting():
                found = answers_in_time(host, app, live)
            if found:
                if (
                    live.version is None and not app.remembered
                ):  # an earlier version of substitute has started it
                    host.journal.proven(live, Version.of(app, host.environment(app, live)))
                return Seen(live=True, other=False, other_may=False)
        may = bool(other.share) and other.committed
        return Seen(
            live=False, other=(may or bool(down)) and answers(host, app, other), other_may=may, down=down
        )

    def _go_back(self, slot: SlotRecord) -> SlotName:
        self.host.journal.commit_back(slot.app, slot.name)
        write_pointers(self.host, self.app)
        self.host.emit(
            Warned(f"Slot {slot.name.other} does not answer; slot {slot.name} does, and is live now.")
        )
        return slot.name

    def _revive(self, live: SlotRecord) -> None:
        host, app = self.host, self.app
        if adopted := host.adopted(live):
            start_again(host, app, live, adopted)
            return
        if host.inspect(live).process:
            raise NotReadyError(f"Slot {live.name} runs, but does not pass its health check.")
        host.emit(Notice(f"Slot {live.name} should be live and does not run: starting it."))
        with explained(host, app, live):
            process, log, version = start_instance(host, app, live)
            with self._waiting():
                await_ready(
                    host, version.health, live, process, show=lambda _: None, log=log, start=version.start
                )
        host.journal.proven(live, version)

    # -- who leaves -----------------------------------------------------------------------------

    def _retire(self, leaving: Iterable[SlotRecord], live: SlotRecord | None) -> Drained | None:
        """Let each finish, and stop it. None where the live one gave out, and the leaving one is live again."""
        drained = Drained()
        for slot in leaving:
            try:
                if not remains(self.host, self.app, slot):
                    drained = Drained()
                    continue
                with self.steps.phase(Phase.DRAIN), self._waiting():
                    drained = drain(self.host, slot)
                if live and slot.share and self._gave_out(live, slot):
                    self._go_back(slot)
                    return None
                drained = self._stop(slot, drained)
            except InterruptedByUserError:
                raise
            except Exception as error:  # noqa: BLE001  # it goes on as it is; the others need not wait for it
                self.left.append(expected(error))
        return drained

    def _gave_out(self, live: SlotRecord, leaving: SlotRecord) -> bool:
        """Whether the live slot stopped answering while the one that is to leave still does."""
        host, app = self.host, self.app
        seen = Seen(live=answers(host, app, live, patience=PATIENCE), other=False, other_may=True)
        if not seen.live:
            seen = replace(seen, other=answers(host, app, leaving))
        return decide(seen) is Step.GO_BACK

    def _stop(self, slot: SlotRecord, drained: Drained) -> Drained:
        self.steps.hook("pre_stop")
        with self.steps.phase(Phase.STOP):
            drained = stop_and_count(self.host, self.app, slot, drained)
        # A balancer that an earlier runtime keeps comes over with the last instance that it kept.
        self.host.reroute()
        self.steps.hook("post_stop")
        return drained

    def _waiting(self) -> AbstractContextManager[None]:
        """Entered where nothing is half-done, and who waits may be called away."""
        return self.interrupts.allowed() if self.interrupts else nullcontext()

    def _end_leftovers(self) -> None:
        """End builds that outlived their deployer, and close its deployments in the journal."""
        host, app = self.host, self.app.name
        try:
            for process in host.journal.commands(app):
                if host.is_ours(process):
                    host.commands.end(process)
            host.journal.forget_commands(app)
            record = host.journal.app(app)
            for left in host.journal.unfinished(app):
                if left.id != self.steps.id:
                    _close(host, left, committed=record.live is left.slot)
        except Exception as error:  # noqa: BLE001  # first of all, traffic goes where it is answered
            self.left.append(expected(error))


def _close(host: Host, left: DeploymentRecord, *, committed: bool) -> None:
    host.journal.finish(
        left.id,
        "succeeded" if committed else "interrupted",
        now=host.clock.now(),
        reason="" if committed else f"The deployment was killed in phase {left.phase or 'begin'}.",
    )
    host.emit(Notice(f"Cleaned up after deployment {left.id}, which was killed."))


def _is_taken(host: Host, slot: SlotRecord) -> bool:
    """Whether somebody else listens where `slot` should, who is to get none of its requests."""
    if host.adopted(slot):  # a container's port is held by its engine
        return False
    process = host.inspect(slot).process
    return any(
        host.prober.holder(endpoint) and not (process and host.prober.owned(endpoint, process))
        for endpoint in slot.endpoints
    )
