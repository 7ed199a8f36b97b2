"""The one function that repairs: it brings everything to what the journal says.

The live slot runs, is ready and gets all new requests; any other instance gets none, finishes its requests,
gets SIGTERM, and is killed only past its time limit. Deployments end in it, failures and interruptions end in
it, and so does the recovery from a killed deployer or a reboot. Run twice, the second changes nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from substitute.core.deploy.decision import Seen, Step, decide
from substitute.core.deploy.leftovers import end_hold, end_leftovers, end_standby, end_with_reboot
from substitute.core.deploy.readiness.readiness import PATIENCE, answers, answers_in_time, await_ready
from substitute.core.deploy.running.completion import complete
from substitute.core.deploy.running.instances import let_finish, remains, start_instances, stop_others
from substitute.core.deploy.running.keeper import start_again
from substitute.core.deploy.running.scheduler import keep_scheduler
from substitute.core.deploy.running.workers import processes_of
from substitute.core.deploy.steps import Quietly
from substitute.core.deploy.versions.kept_versions import remove_others
from substitute.core.deploy.versions.pointers import write_pointers
from substitute.core.deploy.versions.previous_version import put_back
from substitute.core.deploy.versions.release_guard import across
from substitute.core.deploy.working import tell_edges
from substitute.core.model.desired import STOPPED
from substitute.core.model.errors import (
    HandedOverError,
    InterruptedByUserError,
    LeftoverError,
    NotReadyError,
    RuntimeFailedError,
    SubstituteError,
)
from substitute.core.model.events import Drained, Notice, Warned
from substitute.core.model.slots import Phase, SlotName
from substitute.core.model.unexpected import expected
from substitute.core.model.versions import Version
from substitute.values import dataclass, field, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from substitute.core.deploy.steps import Steps
    from substitute.core.host import Host
    from substitute.core.interrupts import Interrupts
    from substitute.core.model.apps import App
    from substitute.core.model.desired import Desired
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.records import AppRecord, SlotRecord

_ROUNDS = 2
"""How often the slots may change places while one of them leaves."""
_STANDS_BY = Drained(handed_over=True, stands_by=True)
_TRIES, _PAUSE = 3, 0.1
"""How often something that nobody foresaw may come up, and the seconds between."""


@dataclass(frozen=True)
class Settled:
    """What settling came to."""

    live: SlotName | None
    """The slot that is live now; another one than the journal's where that one was down."""
    problem: str = ""
    """Why nothing serves, or empty."""
    missing: tuple[str, ...] = ()
    """Why instances of the live slot do not run, while others serve."""
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


@dataclass
class _Settling:
    """One pass of it, and what it could not do on its way."""

    host: Host
    app: App
    steps: Steps
    serve: bool
    interrupts: Interrupts | None
    left: list[SubstituteError] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def run(self) -> Settled:
        self._end_leftovers()
        end_hold(self.host, self.app.name)
        live, problem, drained = self._converge()
        put_back(self.host, self.app)
        self._keep_scheduler()
        remove_others(self.host, self.app)
        if self.left:
            raise LeftoverError(self.left, live, problem, drained)
        return Settled(live, problem, tuple(self.missing), drained)

    def _converge(self) -> tuple[SlotName | None, str, Drained]:
        """Who serves, why nobody does, and what became of the requests of the one that left."""
        drained: Drained | None = None
        end_standby(self.host, self.app.name)
        for _ in range(_ROUNDS):
            live, problem = self._bring_up()
            write_pointers(self.host, self.app)  # one who was killed after a commit has not
            record = self.host.journal.app(self.app.name)
            desired = self._desired(record)
            shares = {name: wanted.share for name, wanted in desired.items()}
            if live and problem and _is_taken(self.host, record.slots[live]):
                shares[live] = 0  # its requests are not for whoever listens there
            self.host.route(self.app.name, shares)
            tell_edges(self.host, self.app)  # before anything is stopped for it
            if live and not problem:
                self.missing = complete(self.host, self.app, record.slots[live], self._waiting)
            leaving = [slot for slot in record.slots.values() if not self._keep(slot, desired[slot.name])]
            drained = self._retire(leaving, record.slots[live] if live else None)
            if drained and len(leaving) < len(record.slots) - 1:
                drained = replace(drained, stands_by=True)
            if drained is not None:
                break
            # The one that was to leave is live again. Now the other one leaves, without its hooks.
            self.steps = Quietly(self.steps.id)
        return live, problem, drained or Drained()

    def _desired(self, record: AppRecord) -> Mapping[SlotName, Desired]:
        return record.desired(self.host.clock.now()) if self.serve else dict.fromkeys(record.slots, STOPPED)

    def _end_leftovers(self) -> None:
        try:
            end_leftovers(self.host, self.app.name, but=self.steps.id)
            end_with_reboot(self.host, self.app)
        except Exception as error:  # noqa: BLE001  # first of all, traffic goes where it is answered
            self.left.append(expected(error))

    def _keep_scheduler(self) -> None:
        """Have crons run where they should. That they can't keeps no version from serving."""
        try:
            keep_scheduler(self.host)
        except InterruptedByUserError:
            raise
        except SubstituteError as error:
            reason = f"The scheduler of the crons could not be brought in order. {error.reason}"
            self.missing.append(reason)
            self.host.emit(Warned(reason))

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
        if step is Step.SERVE:
            self._note_version(live)
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
                return Seen(live=True, other=False, other_may=False)
        may = bool(other.share) and other.committed
        if down and other.committed:  # it may be frozen, and is needed now
            host.wake(other)
        asked = may or (bool(down) and not self._was_held(other))
        return Seen(live=False, other=asked and answers(host, app, other), other_may=may, down=down)

    def _was_held(self, slot: SlotRecord) -> bool:
        """Whether a person was to decide about what is in `slot`, and has not: then nobody else does."""
        past = self.host.journal.past(slot.app)
        last = next((one for one in past if one.slot is slot.name), None)
        return not slot.committed and last is not None and last.outcome in {"held", "aborted"}

    def _note_version(self, live: SlotRecord) -> None:
        """Have the journal know what the live slot runs with, where an earlier version of substitute has started it."""
        app = self.app
        if live.version is None and app.start and not app.remembered and not app.is_contained:
            self.host.journal.proven(live, Version.of(app, self.host.environment(app, live)))

    def _go_back(self, slot: SlotRecord) -> SlotName:
        self.host.journal.commit_back(slot.app, slot.name)
        write_pointers(self.host, self.app)
        told = f"Slot {slot.name.other} does not answer; slot {slot.name} does, and is live now."
        # One that answers is better than none, even across a contract: it served while that was applied, too.
        self.host.emit(Warned(f"{told} {across(self.host, self.app, slot.commit)}".rstrip()))
        return slot.name

    def _revive(self, live: SlotRecord) -> None:
        host, app = self.host, self.app
        if adopted := host.adopted(live):
            self._make_way(live)
            start_again(host, app, live, adopted)
            return
        if any(host.running(one) for one in live.web):
            raise NotReadyError(f"Slot {live.name} runs, but does not pass its health check.")
        from substitute.core.deploy.readiness.early_exit import explained  # noqa: PLC0415  # most often it runs

        self._make_way(live)
        host.emit(Notice(f"Slot {live.name} should be live and does not run: starting it."))
        with explained(host, app, live):
            started, version = start_instances(host, app, live, live.web)
            with self._waiting():
                await_ready(host, live, started, show=lambda _: None)
        host.journal.proven(live, version)

    def _make_way(self, live: SlotRecord) -> None:
        """Where no two versions may run at once: end the other one before `live` starts. Raises why it can't be."""
        host, app = self.host, self.app
        other = host.journal.app(app.name).slots[live.name.other]
        if not app.runs_once or not remains(host, app, other):
            return
        host.let_wait(app.name)
        self._retire([other], None)
        if remains(host, app, host.journal.app(app.name).slots[other.name]):
            raise RuntimeFailedError(
                f"Slot {live.name} is not started: slot {other.name} could not be stopped, and no two versions of "
                f'{app.name} may run at once (order = "stop-first").'
            )

    # -- who leaves -----------------------------------------------------------------------------

    def _retire(self, leaving: Iterable[SlotRecord], live: SlotRecord | None) -> Drained | None:
        """Let each finish, and stop it. None where the live one gave out, and the leaving one is live again."""
        drained = Drained()
        for slot in leaving:
            try:
                if not remains(self.host, self.app, slot):
                    drained = Drained()
                    continue
                if self.steps.in_background:
                    raise HandedOverError("It finishes its requests.")
                left = self._drain(slot)
                if left is None:
                    continue
                drained = left
                if live and slot.share and self._gave_out(live, slot):
                    self._go_back(slot)
                    return None
                drained = self._stop(slot, drained)
            except InterruptedByUserError:
                raise
            except Exception as error:  # noqa: BLE001  # it goes on as it is; the others need not wait for it
                self.left.append(expected(error))
        return drained

    def _drain(self, slot: SlotRecord, *, stops: bool = True) -> Drained | None:
        """Wait for its requests in flight, on all edges. None: another edge goes on with what leaves."""
        from substitute.core.deploy.running.draining import drain  # noqa: PLC0415  # where somebody leaves

        with self.steps.phase(Phase.DRAIN), self._waiting():
            tell = partial(self.steps.doing, Phase.DRAIN)
            drained = drain(self.host, self.app, slot, stops=stops, tell=tell)
            if self.host.edges:
                from substitute.core.deploy.edges import await_others, lead  # noqa: PLC0415  # few have several

                lead(self.host, self.host.edges)
                if not await_others(self.host, slot, serve=self.serve):
                    return None
        return drained

    def _keep(self, slot: SlotRecord, wanted: Desired) -> bool:
        """Have `slot` run on as it is `wanted`; False where it is to leave."""
        if not wanted.runs or wanted.workers:
            return wanted.runs
        if not any(self.host.running(one) for one in slot.web):  # what stood by, or was held, has died
            self.host.journal.end_standby(self.app.name)
            self.host.reroute()
            return False
        self._keep_without_requests(slot, may_freeze=not wanted.held)
        return True

    def _keep_without_requests(self, slot: SlotRecord, *, may_freeze: bool) -> None:
        """Stop its workers, and freeze it where that is configured."""
        if slot.others:
            self._stop_workers(slot)
        if self.app.standby.frozen and may_freeze:
            self._freeze(slot)
        elif self.app.assets:  # it may have been frozen before substitute.toml was edited
            self.host.wake(slot)

    def _stop_workers(self, slot: SlotRecord) -> None:
        """Stop those of a slot that runs on. Whoever goes back to it does not wait until they have done their job."""
        host, app, behind, began = self.host, self.app, self._behind(slot), self.host.clock.monotonic()
        with self.steps.phase(Phase.STOP):
            self._tell_stopping(f"The workers of slot {slot.name} have", slot, slot.others)
            if self.steps.id is None:
                behind = let_finish(host, app, slot, slot.others, called_away=self._cannot_wait)
            stop_others(host, app, slot, slot.others, behind, since=began)
        if behind and self.steps.id is not None:
            raise HandedOverError("A worker finishes its job.", _STANDS_BY)

    def _cannot_wait(self) -> bool:
        """Whether somebody waits who may be about to go back to what stands by."""
        from substitute.core.deploy.running.draining import cannot_wait  # noqa: PLC0415  # as above

        return cannot_wait(self.host, self.app.name, cuts=False)

    def _freeze(self, slot: SlotRecord) -> None:
        """Freeze it when its requests are finished. That it can't be frozen costs processor time, and nothing else."""
        if self.steps.in_background:
            raise HandedOverError("It finishes its requests.", _STANDS_BY)
        drained = self._drain(slot, stops=False)
        if drained and not drained.cut and not self._cannot_wait():
            for one in slot.web:
                self.host.runtime.freeze(one.name)

    def _gave_out(self, live: SlotRecord, leaving: SlotRecord) -> bool:
        """Whether the live slot stopped answering while the one that is to leave still does."""
        host, app = self.host, self.app
        seen = Seen(live=answers(host, app, live, patience=PATIENCE), other=False, other_may=True)
        if not seen.live:
            seen = replace(seen, other=answers(host, app, leaving))
        return decide(seen) is Step.GO_BACK

    def _stop(self, slot: SlotRecord, drained: Drained) -> Drained:
        from substitute.core.deploy.running.draining import stop_and_count  # noqa: PLC0415  # as above

        self.steps.hook("pre_stop")
        behind = self._behind(slot)
        with self.steps.phase(Phase.STOP):
            self._tell_stopping(f"Slot {slot.name} has", slot, slot.instances)
            drained = stop_and_count(self.host, self.app, slot, drained, behind)
        # A balancer that an earlier runtime keeps comes over with the last instance that it kept.
        self.host.reroute()
        self.steps.hook("post_stop")
        if behind:
            raise HandedOverError("A worker finishes its job.", drained)
        return drained

    def _tell_stopping(self, who: str, slot: SlotRecord, instances: Iterable[InstanceRecord]) -> None:
        """Tell whoever waits for this how long `instances` of `slot`, in words `who` has or have, may take."""
        known = processes_of(self.app, slot)
        limits = [
            known[one.process_type].stop_timeout if one.process_type in known else slot.stop_timeout
            for one in instances
        ]
        told = f"{who} at most {max(limits):g}s to finish what is under way, and to exit (stop.timeout)."
        self.steps.doing(Phase.STOP, told)

    def _behind(self, slot: SlotRecord) -> list[InstanceRecord]:
        """The workers that finish their job behind the deployment which this is a part of."""
        if self.steps.id is None:
            return []
        processes = processes_of(self.app, slot)
        found = [
            one
            for one in slot.others
            if one.process_type in processes
            and processes[one.process_type].background
            and self.host.running(one)
        ]
        for one in found:
            limit = processes[one.process_type].stop_timeout
            told = (
                f"{one.subject} finishes its job behind this command, for at most {limit:g}s (stop.timeout)."
            )
            self.host.emit(Notice(told))
        return found

    def _waiting(self) -> AbstractContextManager[None]:
        """Entered where nothing is half-done, and who waits may be called away."""
        return self.interrupts.allowed() if self.interrupts else nullcontext()


def _is_taken(host: Host, slot: SlotRecord) -> bool:
    """Whether somebody else listens where `slot` should, who is to get none of its requests."""
    if host.adopted(slot):  # a container's port is held by its engine
        return False
    return all(_is_taken_from(host, one) for one in slot.web)


def _is_taken_from(host: Host, instance: InstanceRecord) -> bool:
    process = host.inspect(instance).process
    return any(
        host.prober.holder(endpoint) and not (process and host.instances.owned(endpoint, process))
        for endpoint in instance.endpoints
    )
