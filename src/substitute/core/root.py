"""A whole root at once: everything up after a reboot, everything down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.errors import NothingServesError, SubstituteError
from substitute.core.events import Notice, Warned
from substitute.core.guests import pause_guest, resume_guest
from substitute.core.instances import remains
from substitute.core.interrupts import Interrupts
from substitute.core.lock import deployment_lock
from substitute.core.settle import settle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from substitute.core.apps import App
    from substitute.core.host import Host


def up(host: Host, apps: Iterable[App], *, guests: bool = True, operation: str = "up") -> None:
    """Settle every app: after a reboot, a crash of anything, or a killed deployer.

    Raises NothingServesError when a version that should serve could not be brought to it, and UnmovedError where the
    balancer can't reload for what is new in its configuration: then all serves as before.
    """
    problems = []
    for app in apps:
        with deployment_lock(host.lock_path(app.name), operation), Interrupts():
            host.journal.register(app)
            if not host.journal.environment(app.name):
                host.journal.remember_environment(app.name, host.caller)
            settled = settle(host, app)
        if settled.live is None:
            why = "stopped by hand" if settled.problem else "never deployed"
            host.emit(Notice(f"{app.name}: {why}."))
        elif settled.problem:
            problems.append(f"{app.name}: {settled.problem}")
        else:
            host.emit(Notice(f"{app.name}: slot {settled.live} serves."))
    for guest in host.journal.guests().values() if guests else ():
        try:
            resume_guest(host, guest)
        except SubstituteError as error:
            host.emit(Warned(f"{guest.name}: {error.reason}"))
    if guests and not problems:
        host.renew()
    if problems:
        raise NothingServesError(
            "Not everything that should serve does.",
            fact="\n".join(problems),
            cure="See `substitute logs`, then deploy a version that runs, or `substitute rollback`.",
        )


def down(host: Host, apps: Iterable[App], *, everything: bool) -> None:
    """Take the traffic from every instance of `apps`, let them finish, and stop them.

    With `everything`, guests, the balancer and the runtime end too. What was live, and each guest, is remembered:
    `up` brings it back.
    """
    for app in apps:
        with deployment_lock(host.lock_path(app.name), "down"), Interrupts():
            host.journal.register(app)
            record = host.journal.app(app.name)
            running = [slot for slot in record.slots.values() if remains(host, slot)]
            if (
                running
                or any(slot.share for slot in record.slots.values())
                or host.journal.unfinished(app.name)
            ):
                settle(host, app, serve=False)
            for slot in running:
                host.emit(Notice(f"{slot.instance} stopped."))
    if everything:
        for guest in host.journal.guests().values():
            pause_guest(host, guest)
        host.balancer.stop()
        host.runtime.shutdown()
