"""What a rollback would be now: instant, a start, a build, or refused; and how long that took the last time."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from substitute.core.deploy.versions.release_guard import across
from substitute.core.model.slots import Phase
from substitute.core.state.lock import holder_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import SlotRecord

_GOOD = {"succeeded", "promoted"}
"""Outcomes of a deployment whose version became live."""
_LIMIT = 1.0
"""Seconds that a standby has to answer: whoever asks what a rollback would be waits for it."""
_LATELY = 10
"""Deployments that are looked at."""
_STARTS = (Phase.START, Phase.READY, Phase.WARM, Phase.WORKERS)
_BUILDS = (Phase.UPDATE, Phase.BUILD, *_STARTS)


def what_rollback_is(host: Host, app: App) -> dict[str, Any] | None:
    """For ``status --json``: the commit that a rollback would go to, and what it takes; None: there is none.

    `kind` is ``instant``: it stands by and answers, until the time `until` where that is limited; ``noticed``: so it
    does, but the balancer notices only after `seconds` at least; ``cold``: it is started; ``build``; or ``refused``,
    for the reason in `refused`. Of these `seconds` is how long that took when it was last done.
    """
    record = host.journal.app(app.name)
    live = record.live_slot
    target = host.journal.rollback_commit(app.name, live.commit) if live else None
    if live is None or target is None:
        return None
    slot, until = record.slots[live.name.other], None
    holder = holder_of(host.lock_path(app.name))
    busy = f"another command is working on {app.name}: {holder}." if holder and not holder.is_awaited else ""
    refused = across(host, app, target) or busy
    phases: tuple[Phase, ...] = ()
    waits = 0.0
    standby = record.standby(host.clock.now())
    if refused:
        kind = "refused"
    elif standby and standby.commit == target and _is_ready(host, app, standby):
        until, waits = standby.standby_until, host.balancer.notices_after()
        kind = "noticed" if waits else "instant"
    elif (slot.intact and slot.commit == target) or target in host.journal.kept(app.name):
        kind, phases = "cold", _STARTS
    else:
        kind, phases = "build", _BUILDS
    return {
        "commit": target,
        "refused": refused,
        "kind": kind,
        "until": _iso(until) if until not in {None, math.inf} else None,
        "seconds": _took(host, app, target, phases) if phases else waits or None,
    }


def _is_ready(host: Host, app: App, standby: SlotRecord) -> bool:
    """Whether a rollback would find that it answers. One that is frozen can't be asked: it is woken first."""
    if not all(host.running(one) for one in standby.web):
        return False
    if app.standby.frozen:
        return True
    from substitute.core.deploy.readiness.readiness import answers  # noqa: PLC0415  # most often nothing stands by

    return all(answers(host, app, standby, [one], limit=_LIMIT) for one in standby.web)


def _took(host: Host, app: App, commit: str, phases: Iterable[Phase]) -> float | None:
    """The seconds of `phases` in the latest deployment of `commit` that had the first of them, if one of late did."""
    first, *rest = phases
    for one in host.journal.history(app.name, _LATELY):
        if one.commit == commit and one.outcome in _GOOD and one.seconds.get(first):
            return round(sum(one.seconds.get(phase, 0.0) for phase in (first, *rest)), 1)
    return None


def _iso(epoch: float | None) -> str | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds")
