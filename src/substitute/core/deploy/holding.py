"""A candidate that waits for a person: brought up and held, then promoted or aborted."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from substitute.core.deploy.choosing import nothing_is_held
from substitute.core.deploy.settle import settle
from substitute.core.deploy.versions.release_guard import migration_left
from substitute.core.deploy.working import working
from substitute.core.interrupts import Interrupts, ends_soon
from substitute.core.model.events import Notice
from substitute.core.model.records import Hold
from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from substitute.core.deploy.attempt import Attempt
    from substitute.core.host import Host
    from substitute.core.model.apps import App

_BYTES = 16
"""Of a token: it is in a link, and nobody else is to guess it."""


def hold(attempt: Attempt, seconds: float) -> None:
    """Have the candidate wait for a person, for so many seconds; who sends its token gets it."""
    host, app, now = attempt.host, attempt.app, attempt.host.clock.now()
    found = Hold(attempt.plan.slot, attempt.id or 0, now + seconds, secrets.token_hex(_BYTES))
    host.journal.hold(app.name, found, now=now)
    shares = {slot.name: slot.share for slot in host.journal.app(app.name).slots.values()}
    if why := host.pending(app.name, shares):
        with attempt.phase(Phase.RELOAD):
            attempt.show(Phase.RELOAD)(why)
            host.reload(app.name, shares)
    host.route(app.name, shares)
    attempt.held(found, host.previews(app.name))


def abort(host: Host, app: App) -> None:
    """Stop what is held. Nothing else is changed. Raises UsageError where nothing is held, and as `settle` does."""
    with working(host, app, "abort"), Interrupts(ends_soon(host.emit)) as interrupts:
        record = host.journal.app(app.name)
        slot = record.holds(host.clock.now())
        if slot is None or record.hold is None:
            raise nothing_is_held(app)
        left = migration_left(host.journal.deployment(record.hold.deployment))
        host.journal.end_hold(app.name, reason="It was aborted.")
        settle(host, app, interrupts=interrupts)
    told = f"{slot.full_name} stopped: {(slot.commit or '')[:10]} does not become live. {left}"
    host.emit(Notice(told.rstrip()))
