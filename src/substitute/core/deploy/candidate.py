"""The candidate, brought up and led its first requests: each step is a phase that can fail and harms nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.readiness.health_check import program_of
from substitute.core.deploy.readiness.readiness import (
    PATIENCE,
    answers,
    answers_in_time,
    observe_for,
)
from substitute.core.deploy.running.instances import running
from substitute.core.deploy.settle import settle
from substitute.core.deploy.steps import Quietly
from substitute.core.excerpt import LAST
from substitute.core.model.errors import NotReadyError
from substitute.core.model.events import Warned
from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from substitute.core.deploy.attempt import Attempt
    from substitute.core.deploy.readiness.started import Started
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import SlotRecord
    from substitute.core.model.slots import SlotName


def bring_up(attempt: Attempt) -> list[Started]:
    """Update, build, release and start the candidate, and return when it is ready; it gets no traffic.

    Returns what is to be watched: nothing where the candidate stood by, and answers.
    """
    if attempt.plan.warm and (found := _as_it_stands(attempt)) is not None:
        return found
    from substitute.core.deploy.starting import prepare_and_start  # noqa: PLC0415  # what stands by needs none of it

    return prepare_and_start(attempt)


def _as_it_stands(attempt: Attempt) -> list[Started] | None:
    """What runs already and answers well: then nothing is started. None: what stood by is to be started again.

    Raises NotReadyError for one that was held.
    """
    host, app, slot = attempt.host, attempt.app, attempt.slot
    attempt.hook("begin")
    with attempt.phase(Phase.READY):
        if not attempt.goes_back_at_once:
            _require_not_crashed(host, app, slot)
        host.wake(slot)
        # Of a cluster's some may be gone, and the rest is not enough for all requests.
        whole = not slot.clustered or all(host.inspect(one).ready for one in slot.web)
        if whole and all(answers(host, app, slot, [one], patience=PATIENCE) for one in slot.web):
            return [] if attempt.goes_back_at_once else running(host, app, slot)
    if not attempt.goes_back_at_once:
        raise NotReadyError(
            f"Slot {slot.name} was held, and does not answer any more.", cure=f"See {slot.logs}."
        )
    attempt.emit(Warned(f"Slot {slot.name} stood by and does not answer: it is started again."))
    host.journal.end_standby(app.name)
    settle(host, app, Quietly(attempt.id))
    return None


def _require_not_crashed(host: Host, app: App, slot: SlotRecord) -> None:
    """What was held is what was proven then, and not what was started in its place. Raises NotReadyError."""
    for one in slot.web:
        process = host.running(one)
        if process and one.process and process != one.process:
            program = program_of(host, app, slot, one)
            last = host.runtime.last_lines(program.name, program.log, LAST)
            raise NotReadyError(
                f"{one.subject} has crashed while it was held, and was started again.",
                fact="\n".join(["It wrote at last:", *(f"  | {line}" for line in last)]) if last else "",
                cure=f"See {one.logs}.",
            )


def change_workers(attempt: Attempt) -> None:
    """Have the candidate's workers run instead of the old version's."""
    host, app, slot = attempt.host, attempt.app, attempt.slot
    live = host.journal.app(app.name).live_slot
    caller = host.caller if attempt.plan.update else None
    if not (slot.version and slot.version.processes):
        return
    from substitute.core.deploy.readiness.early_exit import explained  # noqa: PLC0415  # few apps have workers
    from substitute.core.deploy.running.workers import change_over  # noqa: PLC0415

    with (
        attempt.phase(Phase.WORKERS),
        explained(host, app, slot, caller),
        attempt.excerpt(Phase.WORKERS) as show,
    ):
        change_over(host, app, live, slot, caller=caller, show=show)


def admit(attempt: Attempt, started: list[Started]) -> None:
    """Give the candidate its share of the traffic, and watch it; the old version serves the rest, untouched."""
    host, app = attempt.host, attempt.app
    shares = _shares(attempt)
    if why := host.pending(app.name, shares):
        with attempt.phase(Phase.RELOAD):
            attempt.show(Phase.RELOAD)(why)
            host.reload(app.name, shares)
    with attempt.phase(Phase.ADMIT):
        host.route(app.name, shares)
    if _is_canary(attempt) and shares[attempt.plan.slot] < 100:
        from substitute.core.deploy.canary import canary  # noqa: PLC0415  # slow to import, and few need it

        canary(attempt, started)
    elif started:  # what stood by has served before
        with attempt.phase(Phase.VERIFY):
            observe_for(host, attempt.slot, started, seconds=app.verify.seconds)
    attempt.hook("running")


def _is_canary(attempt: Attempt) -> bool:
    """Whether clients come to the candidate step by step. Who goes back, or starts the same again, does not wait."""
    return bool(attempt.app.canary.steps) and attempt.operation in {"deploy", "promote"}


def _shares(attempt: Attempt) -> dict[SlotName, int]:
    """What both slots get while the candidate is verified; all to it where nothing else answers."""
    host, app, candidate = attempt.host, attempt.app, attempt.plan.slot
    live = host.journal.app(app.name).live_slot
    share = app.canary.steps[0].share if _is_canary(attempt) else app.verify.share
    if attempt.goes_back_at_once or app.runs_once or not (live and answers_in_time(host, app, live)):
        share = 100
    return {candidate: share, candidate.other: 100 - share}
