"""The one convergent function: it makes the world match the journal.

The live slot runs, is ready and gets all new requests; any other instance gets none, finishes its requests,
gets SIGTERM, and is killed only past its time limit. Deployments end in it, failures and interruptions end in
it, and so does the recovery from a killed deployer or a reboot. Run twice, the second changes nothing.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from substitute.core.errors import DeploymentFailedError, NotReadyError
from substitute.core.events import Drained, Notice, Warned
from substitute.core.health import PATIENCE, answers, answers_in_time, await_ready
from substitute.core.instances import drain, remains, start_instance, stop_instance
from substitute.core.signposts import write_signposts
from substitute.core.slots import Phase, SlotName

if TYPE_CHECKING:
    from substitute.core.apps import App
    from substitute.core.host import Host
    from substitute.core.records import AppRecord, SlotRecord


class Steps(Protocol):
    """What settling tells the deployment that it is part of."""

    @property
    def id(self) -> int | None:
        """The deployment, which is not a leftover; None outside one."""

    def phase(self, phase: Phase) -> AbstractContextManager[None]:
        """Entered for the time of a phase."""

    def hook(self, name: str) -> None:
        """Called where a hook of the user's has its place. Never raises."""


class _Quiet:
    """Recovery: no phases shown, no hooks run."""

    id = None

    def phase(self, phase: Phase) -> AbstractContextManager[None]:
        del phase
        return nullcontext()

    def hook(self, name: str) -> None:
        pass


@dataclass(frozen=True)
class Settled:
    """What settling came to."""

    live: SlotName | None
    """The slot that is live now; another one than the journal's where that one was down."""
    problem: str = ""
    """Why nothing serves, or empty."""
    drained: Drained = field(default_factory=Drained)


def settle(host: Host, app: App, steps: Steps | None = None, *, serve: bool = True) -> Settled:
    """Make the world match the journal for `app`. The caller holds the app's lock.

    Without `serve` no slot is to serve for now, and the journal stays as it is. A live slot that cannot be revived
    is a `problem` and no exception: the fix must get through. Raises BalancerError where traffic could not be moved;
    then nothing was stopped.
    """
    steps = steps or _Quiet()
    record = host.journal.app(app.name)
    _end_leftovers(host, record, steps)
    live, problem = _choose_live(host, app, record) if serve else (None, "")
    host.route(app.name, {name: 100 if name is live else 0 for name in SlotName})
    drained = Drained()
    for slot in record.slots.values():
        if slot.name is live or not remains(host, slot):
            continue
        with steps.phase(Phase.DRAIN):
            drained = drain(host, slot)
        if live and slot.share and _gave_out(host, app, record.slots[live], slot):
            _commit_back(host, slot)
            return settle(host, app)
        steps.hook("pre_stop")
        with steps.phase(Phase.STOP):
            stop_instance(host, slot)
        # A balancer that an earlier runtime keeps comes over with the last instance that it kept.
        host.reroute()
        steps.hook("post_stop")
    write_signposts(host, app)
    return Settled(live, problem, drained)


def _end_leftovers(host: Host, record: AppRecord, steps: Steps) -> None:
    """End builds that outlived their deployer, and close its deployments in the journal."""
    for process in host.journal.commands(record.name):
        host.commands.end(process)
    host.journal.forget_commands(record.name)
    for left in host.journal.unfinished(record.name):
        if left.id == steps.id:
            continue
        committed = record.live is left.slot
        host.journal.finish(
            left.id,
            "succeeded" if committed else "interrupted",
            now=host.clock.now(),
            reason="" if committed else f"The deployer was killed in phase {left.phase or 'begin'}.",
        )
        host.emit(Notice(f"Settled deployment {left.id}, whose deployer was killed."))


def _choose_live(host: Host, app: App, record: AppRecord) -> tuple[SlotName | None, str]:
    """The slot that shall serve: the journal's, or the other where that one is down and the other answers.

    So the last ready instance is never taken out of the balancer.
    """
    live = record.live_slot
    if live is None or record.stopped:
        return None, "" if live is None else "It was stopped by hand."
    if answers_in_time(host, app, live):
        return live.name, ""
    other = record.slots[live.name.other]
    if other.share and answers(host, app, other):
        return _commit_back(host, other), ""
    try:
        _revive(host, app, live)
    except DeploymentFailedError as error:
        if answers(host, app, other):
            return _commit_back(host, other), ""
        host.emit(Warned(f"The live slot {live.name} could not be revived. {error.reason}"))
        return live.name, error.reason
    return live.name, ""


def _gave_out(host: Host, app: App, live: SlotRecord, leaving: SlotRecord) -> bool:
    """Whether the live slot stopped answering while the one that is to leave still does."""
    return not answers(host, app, live, patience=PATIENCE) and answers(host, app, leaving)


def _revive(host: Host, app: App, live: SlotRecord) -> None:
    if host.inspect(live).process:
        raise NotReadyError(f"Slot {live.name} runs, but does not answer well.")
    host.emit(Notice(f"Slot {live.name} should be live and does not run: starting it."))
    process, log = start_instance(host, app, live)
    await_ready(host, app.health, live, process, show=lambda _: None, log=log)


def _commit_back(host: Host, slot: SlotRecord) -> SlotName:
    host.journal.commit_back(slot.app, slot.name)
    host.emit(Warned(f"Slot {slot.name.other} does not answer; slot {slot.name} does and is live again."))
    return slot.name
