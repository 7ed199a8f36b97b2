"""``lock`` and ``unlock``: nobody deploys until somebody says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.events import Locked, Notice, Unlocked
from substitute.core.state import hand_lock
from substitute.core.state.hand_lock import HandLock
from substitute.core.state.lock import holder_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from substitute.core.host import Host

_REFUSED = {"deploy", "restart", "promote"}


def lock(host: Host, apps: Iterable[str], app: str | None, text: str) -> None:
    """Refuse deployments of `app`, or of all `apps`, until `unlock`. What is under way goes on, and is told.

    Raises LockedError where they are locked already.
    """
    found = HandLock(text, host.user, host.clock.now(), app)
    hand_lock.put(host.journal, found)
    host.emit(Locked(app, found.text, found.by, found.since))
    for name in [app] if app else apps:
        holder = holder_of(host.lock_path(name))
        if holder and holder.operation in _REFUSED:
            host.emit(Notice(f"{name}: {holder} is under way, and goes on."))


def unlock(host: Host, apps: Iterable[str], app: str | None) -> None:
    """Allow deployments of `app` again, or of all `apps`, whatever locks there are; tell what is taken away."""
    taken = [
        found
        for one in ([app] if app else [None, *apps])
        if (found := hand_lock.take_away(host.journal, one))
    ]
    for each in taken:
        host.emit(Unlocked(each.app, each.text, each.by, each.since))
    if not taken:
        host.emit(Notice(f"{app} was not locked." if app else "Nothing was locked."))
    if app and (left := hand_lock.read(host.journal, None)):
        host.emit(Notice(f"All apps are {left}\n`{left.unlock}` takes that away."))
