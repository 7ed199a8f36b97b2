"""One attempt to make a candidate live: its number, its times, its hooks, and what it says of its end."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from substitute.core.deploy.hooks import run_hook
from substitute.core.deploy.plan import CHECK, Plan
from substitute.core.deploy.running.runs import await_none
from substitute.core.deploy.steps import Quietly
from substitute.core.deploy.versions.previous_version import rollback_cost, rollback_lost, rollback_target
from substitute.core.deploy.versions.release_guard import migration_left
from substitute.core.deploy.working import tell_edges
from substitute.core.excerpt import excerpt
from substitute.core.interrupts import whole
from substitute.core.masking import Mask
from substitute.core.model.environment import instance_environment, passed
from substitute.core.model.errors import (
    DeploymentFailedError,
    InterruptedByUserError,
    LockedError,
    NothingServesError,
    SubstituteError,
    UsageError,
)
from substitute.core.model.events import (
    Checked,
    Event,
    Failed,
    Held,
    Interrupted,
    Notice,
    Output,
    PhaseFinished,
    PhaseStarted,
    Resolved,
    Succeeded,
    Warned,
)
from substitute.core.model.slots import Phase, SlotName
from substitute.core.model.unexpected import expected
from substitute.core.state.deployment_log import Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from substitute.core.deploy.steps import Steps
    from substitute.core.host import Host
    from substitute.core.interrupts import Interrupts
    from substitute.core.model.apps import App
    from substitute.core.model.events import Drained
    from substitute.core.model.findings import ShutdownReport
    from substitute.core.model.records import Hold, SlotRecord
    from substitute.core.state.lock import Lock


class Attempt:
    """The course of one operation. `id` is None until `begin`."""

    plan: Plan

    def __init__(
        self,
        host: Host,
        app: App,
        operation: str,
        lock: Lock,
        *,
        interrupts: Interrupts,
        hand_over: Callable[[], None],
    ) -> None:
        self.host = host
        self.app = app
        self.operation = operation
        self.id: int | None = None
        self.hand_over = hand_over
        """Has the guardian stay, and go on with what is left when the lock is released."""
        self.drained: Drained | None = None
        """What became of the requests of a version that had to end before its successor started."""
        self.mask = Mask()
        self.remark = ""
        """What the journal keeps of a deployment that succeeds all the same."""
        self._interrupts = interrupts
        interrupts.tell = self._goes_on
        self._lock = lock
        self._transcript: Transcript | None = None
        self._reached = ""
        self._outcome = ""
        self._previous: str | None = None
        self._earlier: SlotRecord | None = None
        self._began = host.clock.monotonic()
        self._since = host.clock.now()
        timed = [phase for phase in Phase if phase not in {Phase.COMMIT, Phase.CHECK}]
        self._seconds: dict[str, float] = dict.fromkeys(timed, 0.0)

    def begin(self, plan: Plan, *, chosen_in: float) -> None:
        """Write the deployment into the journal. `chosen_in` seconds were spent on choosing the commit.

        Where a command runs in the slot, whose files are to change, that is waited for. Raises LockedError.
        """
        if plan.update:
            await_none(self.host, self.host.journal.app(self.app.name).slots[plan.slot], self._lock)
        record = self.host.journal.app(self.app.name)
        self._previous = record.live_slot.commit if record.live_slot else None
        self.plan = plan
        with whole:  # a deployment that was begun is known here as such, whatever comes then
            self.id = self.host.journal.begin(
                self.app.name,
                plan.slot,
                plan.operation,
                revision=plan.revision,
                previous=self._previous,
                user=self.host.user,
                now=self._since,
            )
        tell_edges(self.host, self.app)
        self._seconds[Phase.UPDATE] = chosen_in
        self._transcript = Transcript(self.app, self.id)
        revision = plan.revision
        self.emit(
            Resolved(
                app=self.app.name,
                slot=plan.slot,
                commit=revision.commit,
                subject=revision.subject,
                how=revision.how,
                operation=plan.operation,
            )
        )

    @property
    def is_check(self) -> bool:
        """Whether nothing is to become live: that nothing serves is no failure of this attempt's then."""
        return self.operation == CHECK

    @property
    def in_background(self) -> bool:
        """What leaves finishes behind the command. Whoever goes back at once does not wait for what he leaves."""
        return self.goes_back_at_once or self.app.drain.background

    @property
    def goes_back_at_once(self) -> bool:
        """To what served before, and runs."""
        return self.plan.warm and self.operation == "rollback"

    @property
    def slot(self) -> SlotRecord:
        """The candidate's slot, as the journal has it now."""
        return self.host.journal.app(self.app.name).slots[self.plan.slot]

    def emit(self, event: Event) -> None:
        """Tell the screen, and the deployment's log; no secret is told."""
        event = self.mask.event(event)
        if self._transcript:
            self._transcript(event)
        self.host.emit(event)

    def show(self, where: str) -> Callable[[str], None]:
        """A function that takes the lines of a program which runs in `where`."""
        return lambda line: self.emit(Output(where, line))

    def excerpt(self, where: str) -> AbstractContextManager[Callable[[str], None]]:
        """As `show`, for an instance, whose log keeps the lines that are not shown."""
        return excerpt(self.show(where), rest=f"see {self.slot.logs}.")

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Announce, time and journal a phase."""
        leaving = phase in {Phase.DRAIN, Phase.STOP}
        slot = self.plan.slot.other if leaving or phase is Phase.SWITCH else self.plan.slot
        identity = (phase, self.app.name, slot, self.id or 0)
        self._reached = phase
        self._lock.phase(phase)
        # After the commit nothing waits for what is only told: not even for a full disk.
        if leaving:
            self.note(self._reach)
        else:
            self._reach()
        self.emit(PhaseStarted(*identity))
        began = self.host.clock.monotonic()
        with self._interrupts.handing_over() if phase is Phase.DRAIN else nullcontext():
            yield
        took = self.host.clock.monotonic() - began
        if phase in self._seconds:
            self._seconds[phase] += took
        self.emit(PhaseFinished(*identity, seconds=round(took, 4)))

    def doing(self, phase: Phase, what: str) -> None:
        """Tell whoever waits for this deployment what it waits for in `phase`."""
        self._lock.phase(phase, what)

    def _goes_on(self, by: str) -> None:
        """Tell who typed Ctrl-C, where that does not end the deployment, what goes on and for how long."""
        from substitute.core.state.waiting import what_goes_on  # noqa: PLC0415  # of an interruption alone

        candidate = self.plan.slot if self.id is not None else None
        told = what_goes_on(
            by,
            self.app,
            candidate,
            self._reached,
            self._outcome,
            can_hand_over=self._interrupts.can_hand_over,
        )
        self.emit(Notice(told))

    def _reach(self) -> None:
        self.host.journal.reached(self.id or 0, self._reached, self._seconds)

    def note(self, write: Callable[[], None]) -> None:
        """Write something that is only for people: tried twice; what can't be noted then is told, and stops nothing."""
        with suppress(Exception):
            write()
            return
        try:
            write()
        except Exception as error:  # noqa: BLE001
            self.emit(Warned(expected(error).reason))

    def environment(self) -> dict[str, str]:
        """What builds get, and hooks: the instance's variables, and where the deployment stands."""
        caller = {**self.host.caller, **passed(self.app, self.host.environ)}
        return {**instance_environment(self.app, self.slot, caller), **self._situation()}

    def _situation(self) -> dict[str, str]:
        return {
            "SUBSTITUTE_DIRECTORY": str(self.slot.directory),
            "SUBSTITUTE_COMMIT": self.plan.revision.commit,
            "SUBSTITUTE_PREVIOUS_COMMIT": self._previous or "",
            "SUBSTITUTE_OPERATION": self.operation,
            "SUBSTITUTE_PHASE": self._reached,
            "SUBSTITUTE_OUTCOME": self._outcome,
            "SUBSTITUTE_ROOT": str(self.app.root),
        }

    def say_what_it_costs(self) -> None:
        """Say, before the slot is overwritten, what that means for a rollback."""
        self._earlier = rollback_target(self.host, self.app)
        if self._earlier and (told := rollback_cost(self.host, self.app, self.plan, self._earlier)):
            self.emit(Notice(told))

    def hook(self, name: str) -> None:
        """Run a hook. Whatever fails in one before the commit fails the deployment, after it only warns."""
        try:
            run_hook(
                self.host,
                self.app,
                self.slot,
                name,
                situation=self._situation(),
                show=self.show(f"hook:{name}"),
            )
        except Exception as error:
            if name not in {"pre_stop", "post_stop", "end"}:
                raise
            self.emit(Warned(expected(error).reason))

    def close(self, error: SubstituteError) -> None:
        """Write the failure into the journal, before anything is settled; where it can't be written, settle yet."""
        from substitute.core.state.waiting import CLEANUP  # noqa: PLC0415  # of a failure alone

        self._outcome = "interrupted" if isinstance(error, InterruptedByUserError) else "failed"
        self._lock.phase(CLEANUP)
        with suppress(Exception):
            if self.id is not None:
                now = self.host.clock.now()
                hold = self.host.journal.app(self.app.name).hold
                if hold and (hold.deployment == self.id or self._outcome == "failed"):
                    self.host.journal.end_hold(self.app.name, reason=error.reason)
                self.host.journal.finish(self.id, self._outcome, now=now, reason=error.reason)

    def cleanup_steps(self, error: SubstituteError) -> Steps:
        """The steps of settling after `error`. Whoever interrupted is told why his prompt is not there at once."""
        interrupted = self.id is not None and isinstance(error, InterruptedByUserError)
        if interrupted and self.slot.started and not self._held_again():
            limit = self.app.drain.limit + self.app.stop_timeout
            self.emit(
                Notice(f"{error.what} Slot {self.plan.slot} is stopped, which takes at most {limit:g}s.")
            )
        return Quietly(interrupts=self._interrupts)

    def held(self, hold: Hold, links: Sequence[str]) -> None:
        """Tell that the candidate waits for a person; the journal knows."""
        self._outcome = "held"
        self._end(
            Held(
                app=self.app.name,
                slot=self.plan.slot,
                commit=self.plan.revision.commit,
                live=self.host.journal.app(self.app.name).live,
                until=hold.until,
                token=hold.token,
                links=tuple(links),
            )
        )

    def failed(self, error: SubstituteError, live: SlotName | None, *, problem: str = "") -> SubstituteError:
        """Say how it ended and which slot serves; the error to raise is returned."""
        self.close(error)
        if self.id is None and isinstance(error, UsageError | LockedError):
            return error
        ending = Interrupted if isinstance(error, InterruptedByUserError) else Failed
        commit = self.plan.revision.commit if self.id is not None else None
        begun = self.host.journal.deployment(self.id or 0)
        self.emit(
            ending(
                app=self.app.name,
                phase=self._reached,
                reason=error.reason,
                live=live,
                commit=commit,
                stays=migration_left(begun),
            )
        )
        self._end()
        if self.is_check and self.host.journal.app(self.app.name).stopped:
            problem = ""  # it does not serve because somebody wants it so
        serves = [self._serves(error, live, problem), migration_left(begun), self._held_again()]
        kind = self._kind_of(error, live, problem)
        return kind(error.what, fact=error.fact, serves=" ".join(filter(None, serves)), cure=error.cure)

    def _held_again(self) -> str:
        """That what was to be promoted waits for a person again, where it does."""
        record = self.host.journal.app(self.app.name)
        slot = record.holds(self.host.clock.now()) if self.operation == "promote" else None
        if slot is None or record.hold is None:
            return ""
        until = datetime.fromtimestamp(record.hold.until, UTC).astimezone()
        return (
            f"Slot {slot.name} ({(slot.commit or '')[:10]}) is held again until {until:%Y-%m-%d %H:%M:%S}: "
            "`substitute promote` makes it live, `substitute abort` stops it."
        )

    def _kind_of(self, error: SubstituteError, live: SlotName | None, problem: str) -> type[SubstituteError]:
        if problem:
            return NothingServesError
        if isinstance(error, InterruptedByUserError):
            return InterruptedByUserError
        if live is None and not self.is_check:
            return NothingServesError
        return DeploymentFailedError

    def _serves(self, error: SubstituteError, live: SlotName | None, problem: str) -> str:
        """What serves after `error`, as a sentence: nothing, `live` still, or `live` only now."""
        name = self.app.name
        if problem:
            return f"Nothing serves {name}.{'' if problem == error.reason else f' {problem}'}"
        if live is None and self.is_check:
            return f"Nothing served {name} before, and nothing does."
        if live is None:
            return f"Nothing serves {name}."
        commit = self.host.journal.app(name).slots[live].commit or "adopted"
        is_new = self.id is not None and live is self.plan.slot and not self.is_check
        told = f"Slot {live} ({commit[:10]}) {'serves now' if is_new else 'still serves'}."
        return f"{told} {rollback_lost(self.host, self.app, self._earlier)}".rstrip()

    def checked(self, report: ShutdownReport) -> Checked:
        """Write what a check saw into the journal, tell it, and return it.

        Its outcome is ``passed``, ``failed`` or ``not proven``, never ``succeeded``: what was only checked was never
        live, and a rollback does not go to it.
        """
        self._outcome = report.result
        now, reason = self.host.clock.now(), report.reason
        self.host.journal.finish(self.id or 0, self._outcome, now=now, reason=reason)
        record = self.host.journal.app(self.app.name)
        checked = Checked(
            app=self.app.name,
            slot=self.plan.slot,
            commit=self.plan.revision.commit,
            live=None if record.stopped else record.live,
            report=report,
        )
        self._end(checked)
        return checked

    def succeeded(self, drained: Drained, *, reason: str = "") -> None:
        """Write the success into the journal and tell it; `reason` is what could not be done after it."""
        self._outcome = "succeeded"
        seconds = {**self._seconds, "total": self.host.clock.monotonic() - self._began}
        reason = "\n".join(filter(None, [self.remark, reason]))
        journal, number, now = self.host.journal, self.id or 0, self.host.clock.now()
        self.note(lambda: journal.reached(number, self._reached, seconds))
        self.note(lambda: journal.finish(number, "succeeded", now=now, reason=reason))
        self._end(
            Succeeded(
                app=self.app.name,
                live=self.plan.slot,
                commit=self.plan.revision.commit,
                previous=self._previous,
                seconds={str(phase): round(took, 4) for phase, took in seconds.items()},
                drained=self.drained or drained,
            )
        )

    def _end(self, ending: Event | None = None) -> None:
        """Run the last hook, tell `ending`, and close the log."""
        if self.id is not None:
            self.hook("end")
        if ending:
            self.emit(ending)
        if self._transcript:
            self._transcript.close()
