"""The candidate, from its files to its first requests: each step is a phase that can fail and harms nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.preparation.gathering import gather_secrets
from substitute.core.deploy.preparation.shared import lay
from substitute.core.deploy.preparation.strays import mark
from substitute.core.deploy.readiness.early_exit import explained
from substitute.core.deploy.readiness.listeners import exposure
from substitute.core.deploy.readiness.readiness import (
    PATIENCE,
    answers,
    answers_in_time,
    await_ready,
    observe_for,
)
from substitute.core.deploy.running.draining import drain, stop_web
from substitute.core.deploy.running.instances import remains, running, start_instances
from substitute.core.deploy.running.workers import change_over
from substitute.core.deploy.settle import settle
from substitute.core.deploy.steps import Quietly
from substitute.core.model.errors import NotReadyError
from substitute.core.model.events import Warned
from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from substitute.core.deploy.attempt import Attempt
    from substitute.core.deploy.readiness.started import Started
    from substitute.core.model.slots import SlotName


def bring_up(attempt: Attempt) -> list[Started]:
    """Update, build, release and start the candidate, and return when it is ready; it gets no traffic.

    Returns what is to be watched: nothing where the candidate stood by, and answers.
    """
    if attempt.plan.warm and (found := _as_it_stands(attempt)) is not None:
        return found
    gather_secrets(attempt)
    if not attempt.plan.warm:
        attempt.hook("begin")
    if attempt.plan.update:
        from substitute.core.deploy.preparation.version import prepare  # noqa: PLC0415  # a rollback prepares none

        prepare(attempt)
    if not attempt.is_check:
        _make_way(attempt)
    started = _start(attempt)
    if not attempt.is_check:  # a check sends the signal, and sees
        _warn_of_wrappers(attempt, started[0])
    attempt.hook("post_start")
    return started


def _as_it_stands(attempt: Attempt) -> list[Started] | None:
    """What runs already and answers well: then nothing is started. None: what stood by is to be started again.

    Raises NotReadyError for one that was held.
    """
    host, app, slot = attempt.host, attempt.app, attempt.slot
    attempt.hook("begin")
    with attempt.phase(Phase.READY):
        host.wake(slot)
        if all(answers(host, app, slot, [one], patience=PATIENCE) for one in slot.web):
            return [] if attempt.goes_back_at_once else running(host, app, slot)
    if not attempt.goes_back_at_once:
        raise NotReadyError(
            f"Slot {slot.name} was held, and does not answer any more.", cure=f"See {slot.logs}."
        )
    attempt.emit(Warned(f"Slot {slot.name} stood by and does not answer: it is started again."))
    host.journal.end_standby(app.name)
    settle(host, app, Quietly(attempt.id))
    return None


def change_workers(attempt: Attempt) -> None:
    """Have the candidate's workers run instead of the old version's."""
    host, app, slot = attempt.host, attempt.app, attempt.slot
    live = host.journal.app(app.name).live_slot
    caller = host.caller if attempt.plan.update else None
    if not (slot.version and slot.version.processes):
        return
    with (
        attempt.phase(Phase.WORKERS),
        explained(host, app, slot, caller),
        attempt.excerpt(Phase.WORKERS) as show,
    ):
        change_over(host, app, live, slot, caller=caller, show=show)


def _make_way(attempt: Attempt) -> None:
    """Where no two versions may run at once: have new requests wait, and end the live one.

    The journal still names it as live. So whatever fails from here on, `settle` starts it again and lets them go to it.
    """
    host, app = attempt.host, attempt.app
    record = host.journal.app(app.name)
    if not app.runs_once or record.live_slot is None:
        return
    with attempt.phase(Phase.SWITCH):
        if not record.stopped:
            host.let_wait(app.name)
        if remains(host, app, record.live_slot):
            drained = drain(host, app, record.live_slot)
            attempt.hook("pre_stop")
            attempt.drained = stop_web(host, app, record.live_slot, drained)
            host.reroute()  # a balancer that an earlier runtime keeps comes over with the last instance that it kept
            attempt.hook("post_stop")


def _start(attempt: Attempt) -> list[Started]:
    """Start the candidate, and return when it is ready."""
    host, app = attempt.host, attempt.app
    caller = host.caller if attempt.plan.update else None
    attempt.hook("pre_start")
    with attempt.phase(Phase.START), explained(host, app, attempt.slot, caller):
        if host.journal.app(app.name).live is None:
            # Where nothing serves, this one's port is not to be reached before it is ready.
            host.route(app.name, {})
        lay(attempt, again=attempt.plan.update)
        if attempt.plan.update:
            mark(attempt)
        web = attempt.slot.web[:1] if attempt.is_check else attempt.slot.web
        started, version = start_instances(host, app, attempt.slot, web, caller=caller)
    with explained(host, app, attempt.slot, caller):
        with attempt.phase(Phase.READY), attempt.excerpt(Phase.READY) as show:
            await_ready(host, attempt.slot, started, show=show)
            host.journal.proven(attempt.slot, version)
        if version.health.warm:
            from substitute.core.deploy.readiness.warming import warm  # noqa: PLC0415  # few apps ask for it

            with attempt.phase(Phase.WARM), attempt.excerpt(Phase.WARM) as show:
                warm(host, started, attempt.show(Phase.WARM))
                # A page that it dies of is found here, and not by its first visitor.
                await_ready(host, attempt.slot, started, show=show)
        if app.replay.last:
            from substitute.core.deploy.replay import replay  # noqa: PLC0415  # as above

            replay(attempt, started)
    if told := exposure(host, started):
        attempt.emit(Warned(told))
    return started


def _warn_of_wrappers(attempt: Attempt, started: Started) -> None:
    """Say where the stop signal will not reach what listens: each later stop is then slow, or cuts requests off."""
    slot = attempt.slot
    process, endpoint, signal = started.process, started.instance.endpoints[0], slot.stop_signal
    if attempt.host.instances.listens(endpoint, process):
        return
    from substitute.core.deploy.running.wrappers import barrier  # noqa: PLC0415  # few apps have one

    found = barrier(attempt.host.observer.members(endpoint, process, signal), process)
    if found:
        attempt.emit(
            Warned(
                f"{signal} will not reach the app: {found.told}. Its stop may then cut off requests, or last as long "
                f"as stop.timeout, {slot.stop_timeout:g}s. To fix it, {found.cure(signal)}. "
                "`substitute check` tries it."
            )
        )


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
            observe_for(host, attempt.slot, started, seconds=app.verify_for)
    attempt.hook("running")


def _is_canary(attempt: Attempt) -> bool:
    """Whether clients come to the candidate step by step. Who goes back, or starts the same again, does not wait."""
    return bool(attempt.app.canary.steps) and attempt.operation in {"deploy", "promote"}


def _shares(attempt: Attempt) -> dict[SlotName, int]:
    """What both slots get while the candidate is verified; all to it where nothing else answers."""
    host, app, candidate = attempt.host, attempt.app, attempt.plan.slot
    live = host.journal.app(app.name).live_slot
    share = app.canary.steps[0].share if _is_canary(attempt) else app.verify_share
    if attempt.goes_back_at_once or app.runs_once or not (live and answers_in_time(host, app, live)):
        share = 100
    return {candidate: share, candidate.other: 100 - share}
