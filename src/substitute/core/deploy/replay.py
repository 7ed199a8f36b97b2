"""The phase in which both versions are asked for what clients asked for lately."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.readiness.page_comparison import compare, wanted
from substitute.core.deploy.readiness.readiness import await_ready
from substitute.core.model.errors import ReplayError, UnobservedError
from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.deploy.attempt import Attempt
    from substitute.core.deploy.readiness.page_comparison import Asked
    from substitute.core.deploy.readiness.started import Started
    from substitute.core.model.events import Replayed
    from substitute.core.model.records import SlotRecord

_LISTED = 20
"""Differences that are shown; the event has all."""


def replay(attempt: Attempt, started: Sequence[Started]) -> None:
    """Ask both versions, and tell what differs. Raises ReplayError where `replay.fail` says that this matters.

    Not in a rollback: whoever goes back does not want what is live to be the measure.
    """
    live = attempt.host.journal.app(attempt.app.name).live_slot
    if not attempt.app.replay.last or live is None or attempt.operation not in {"deploy", "restart"}:
        return
    with attempt.phase(Phase.REPLAY), attempt.excerpt(Phase.REPLAY) as show:
        if asked := _known(attempt, live):
            told = compare(attempt.host, attempt.app, live, started, asked)
            attempt.emit(told)
            # A page that it dies of is found here, and not by its first visitor.
            await_ready(attempt.host, attempt.slot, list(started), show=show)
            _judge(attempt, told)


def _known(attempt: Attempt, live: SlotRecord) -> list[Asked]:
    """What there is to ask for; else why there is nothing is told in a line."""
    host, app = attempt.host, attempt.app
    log = host.balancer.access_log(app.name)
    why = "Nothing is known yet of what clients ask for: HAProxy knows what it has answered since it was started."
    if log is None:
        why = "This balancer does not tell what clients ask for."
    elif not host.runs(live):
        why = f"Slot {live.name}, which is live, does not run: there is nothing to compare with."
    else:
        try:
            if asked := wanted(log.recent(), app.replay):
                return asked
        except UnobservedError as error:
            why = error.reason
    attempt.show(Phase.REPLAY)(why)
    return []


def _judge(attempt: Attempt, told: Replayed) -> None:
    if not told.differences:
        return
    count = len(told.differences)
    lines = [one.told for one in told.differences[:_LISTED]]
    if count > _LISTED:
        lines.append(f"and {count - _LISTED} more, which `--json` lists")
    what = f"{count} of {told.compared} pages are not answered as the live version answers them."
    if attempt.app.replay.fail:
        raise ReplayError(what, fact="\n".join(f"  {line}" for line in lines))
    for line in lines:
        attempt.show(Phase.REPLAY)(line)
    attempt.remark = f"{what} {'; '.join(lines)}"
