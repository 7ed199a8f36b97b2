"""The one function that repairs: it brings everything to what the journal says.

The live slot runs, is ready and gets all new requests; any other instance gets none, finishes its requests,
gets SIGTERM, and is killed only past its time limit. Deployments end in it, failures and interruptions end in
it, and so does the recovery from a killed deployer or a reboot. Run twice, the second changes nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import field
from typing import TYPE_CHECKING, Protocol

from substitute.core.deploy.draining import drain, stop_and_count
from substitute.core.deploy.early_exit import explained
from substitute.core.deploy.instances import remains, start_instance
from substitute.core.deploy.keeper import start_again
from substitute.core.deploy.pointers import write_pointers
from substitute.core.deploy.previous_version import put_back
from substitute.core.deploy.readiness import PATIENCE, answers, answers_in_time, await_ready
from substitute.core.model.errors import InterruptedByUserError, LeftoverError, NotReadyError, SubstituteError
from substitute.core.model.events import Drained, Notice, Warned
from substitute.core.model.slots import Phase, SlotName
from substitute.core.model.unexpected import expected
from substitute.core.model.versions import Version
from substitute.values import dataclass

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.interrupts import Interrupts
    from substitute.core.model.apps import App
    from substitute.core.model.records import DeploymentRecord, SlotRecord

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
        settled, gave_out = self._settle_once()
        if gave_out:
            # The other one is live again, and this time it is the new one that leaves, without its hooks.
            self.steps = Quietly(self.steps.id)
            settled, _ = self._settle_once()
        put_back(self.host, self.app)
        if self.left:
            raise LeftoverError(self.left, settled.live, settled.problem, settled.drained)
        return settled

    def _settle_once(self) -> tuple[Settled, bool]:
        host, app, drained = self.host, self.app, Drained()
        live, problem = self._choose_live() if self.serve else (None, "")
        write_pointers(host, app)  # one who was killed after a commit has not
        record = host.journal.app(app.name)
        served = None if live and problem and _is_taken(host, record.slots[live]) else live
        host.route(app.name, {name: 100 if name is served else 0 for name in SlotName})
        for slot in record.slots.values():
            if slot.name is live:
                continue
            try:
                retired = self._retire(slot, record.slots[live] if live else None)
            except InterruptedByUserError:
                raise
            except Exception as error:  # noqa: BLE001  # it goes on as it is; the others need not wait for it
                self.left.append(expected(error))
                continue
            if retired is None:
                return Settled(live, problem, drained), True
            drained = retired
        return Settled(live, problem, drained), False

    def _retire(self, slot: SlotRecord, live: SlotRecord | None) -> Drained | None:
        """Let the instance of `slot` finish, and stop it; None where the live one gave out and this one stays."""
        host = self.host
        if not remains(host, self.app, slot):
            return Drained()
        with self.steps.phase(Phase.DRAIN), self._waiting():
            drained = drain(host, slot)
        if live and slot.share and _gave_out(host, self.app, live, slot):
            _commit_back(host, self.app, slot)
            return None
        self.steps.hook("pre_stop")
        with self.steps.phase(Phase.STOP):
            drained = stop_and_count(host, self.app, slot, drained)
        # A balancer that an earlier runtime keeps comes over with the last instance that it kept.
        host.reroute()
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

    def _choose_live(self) -> tuple[SlotName | None, str]:
        """The slot that shall serve: the journal's, or the other where that one is down and the other answers.

        So the last ready instance is never taken out of the balancer. One that was never committed takes the place
        only of one that can't be revived.
        """
        host, app, record = self.host, self.app, self.host.journal.app(self.app.name)
        live = record.live_slot
        if live is None or record.stopped:
            return None, "" if live is None else "It was stopped by hand."
        with self._waiting():
            found = answers_in_time(host, app, live)
        if found:
            if live.version is None and not app.remembered:  # an earlier version of substitute has started it
                host.journal.proven(live, Version.of(app, host.environment(app, live)))
            return live.name, ""
        other = record.slots[live.name.other]
        if other.share and other.committed and answers(host, app, other):
            return _commit_back(host, app, other), ""
        try:
            self._revive(live)
        except InterruptedByUserError:
            raise
        except SubstituteError as error:
            if answers(host, app, other):
                return _commit_back(host, app, other), ""
            host.emit(Warned(f"The live slot {live.name} could not be started again. {error.reason}"))
            return live.name, error.reason
        return live.name, ""

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


def _gave_out(host: Host, app: App, live: SlotRecord, leaving: SlotRecord) -> bool:
    """Whether the live slot stopped answering while the one that is to leave still does."""
    return not answers(host, app, live, patience=PATIENCE) and answers(host, app, leaving)


def _commit_back(host: Host, app: App, slot: SlotRecord) -> SlotName:
    host.journal.commit_back(slot.app, slot.name)
    write_pointers(host, app)
    host.emit(Warned(f"Slot {slot.name.other} does not answer; slot {slot.name} does, and is live now."))
    return slot.name
