"""The candidate, from its files to an instance that is ready; one that stood by needs none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.preparation.gather_secrets import gather_secrets
from substitute.core.deploy.preparation.shared import link_shared
from substitute.core.deploy.preparation.strays import mark
from substitute.core.deploy.readiness.early_exit import explained
from substitute.core.deploy.readiness.listeners import exposure
from substitute.core.deploy.readiness.readiness import await_ready
from substitute.core.deploy.running.draining import drain, stop_web
from substitute.core.deploy.running.instances import remains, start_instances
from substitute.core.model.events import Warned
from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from substitute.core.deploy.attempt import Attempt
    from substitute.core.deploy.readiness.started import Started


def prepare_and_start(attempt: Attempt) -> list[Started]:
    """Update, build, release and start the candidate, and return when it is ready: what is to be watched."""
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
        link_shared(attempt, again=attempt.plan.update)
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
