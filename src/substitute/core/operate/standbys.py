"""The version before, which runs on without requests: its end, by hand and when its time is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.settle import settle
from substitute.core.deploy.steps import Quietly
from substitute.core.deploy.working import working
from substitute.core.interrupts import Interrupts, ends_soon
from substitute.core.model.events import Notice
from substitute.core.state.lock import RECOVERY

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.model.apps import App


def end(host: Host, app: App) -> None:
    """Stop what stands by. Nothing else is changed; that nothing stands by is no error. Raises as `settle` does."""
    with working(host, app, "standby end"), Interrupts(ends_soon(host.emit)) as interrupts:
        slot = host.journal.app(app.name).standby(host.clock.now())
        if slot is None:
            host.emit(Notice(f"Nothing of {app.name} stands by."))
            return
        host.journal.end_standby(app.name)
        if settle(host, app, interrupts=interrupts).live is slot.name:
            return  # the live one does not answer: that it was needed was told
    host.emit(Notice(f"{slot.full_name} stopped. A rollback starts it again."))


def look_after(host: Host, app: App) -> None:
    """Settle, where something stands by, is held, or should have ended by now; as its guardian does."""
    with working(host, app, RECOVERY) as lock:
        if host.journal.app(app.name).unserved_until is not None:
            settle(host, app, Quietly(lock=lock))
