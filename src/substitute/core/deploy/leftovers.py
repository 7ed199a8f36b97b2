"""What earlier commands have left that is over: it is ended, and the journal says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.in_container import end_leftover_containers
from substitute.core.deploy.running.runs import close_lost
from substitute.core.deploy.versions.release_guard import migration_left
from substitute.core.model.events import Notice

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import DeploymentRecord, Hold, SlotRecord


def end_leftovers(host: Host, app: str, *, but: int | None) -> None:
    """End builds that outlived their deployer, and close in the journal its deployments and what was run.

    Not the deployment `but`, which is under way.
    """
    left = host.journal.commands(app)
    for process in left:
        if host.is_ours(process):
            host.commands.end(process)
    if left:
        host.runtime.end_builds(app)
        end_leftover_containers(host, app)
    host.journal.forget_commands(app)
    record = host.journal.app(app)
    for one in host.journal.unfinished(app):
        if one.id != but:
            _close(host, one, committed=record.live is one.slot)
    close_lost(host, app)


def _close(host: Host, left: DeploymentRecord, *, committed: bool) -> None:
    host.journal.finish(
        left.id,
        "succeeded" if committed else "interrupted",
        now=host.clock.now(),
        reason=""
        if committed
        else f"The deployment was killed in phase {left.phase or 'begin'}. {migration_left(left)}".rstrip(),
    )
    told = "" if committed else migration_left(left)
    host.emit(Notice(f"Cleaned up after deployment {left.id}, which was killed. {told}".rstrip()))


def end_hold(host: Host, app: str) -> None:
    """A candidate waits for a person until its time is over, and no longer than it runs."""
    record, now = host.journal.app(app), host.clock.now()
    if record.hold is None:
        return
    slot = record.slots[record.hold.slot]
    if record.hold.until <= now:
        why = "Nobody promoted it in time."
    elif not any(host.running(one) for one in slot.web):
        why = "It does not run any more."
    else:
        return
    _abort(host, app, slot, record.hold, why)


def _abort(host: Host, app: str, slot: SlotRecord, hold: Hold, why: str) -> None:
    left = migration_left(host.journal.deployment(hold.deployment))
    host.journal.end_hold(app, reason=why)
    told = f"Slot {slot.name} ({(slot.commit or '')[:10]}) is not held any more. {why} {left}"
    host.emit(Notice(told.rstrip()))


def end_standby(host: Host, app: str) -> None:
    """Have the journal say that a standby has had its time: then the balancer does not ask it for assets either."""
    now, slots = host.clock.now(), host.journal.app(app).slots.values()
    if any(slot.standby_until is not None and slot.standby_until <= now for slot in slots):
        host.journal.end_standby(app)


def end_with_reboot(host: Host, app: App) -> None:
    """What waits does not outlive a reboot, though an engine of containers starts it again, or a cluster goes on.

    Not where a cluster has several edges: the machine of one is then not what runs it.
    """
    fact = f"boot:{app.name}"
    boot, known = host.boot(), host.journal.fact(fact)
    if boot == known or (host.edges and app.is_clustered):
        return
    record = host.journal.app(app.name)
    if known is not None:
        if record.hold:
            _abort(host, app.name, record.slots[record.hold.slot], record.hold, "The machine was rebooted.")
        if any(slot.standby_until is not None for slot in record.slots.values()):
            host.journal.end_standby(app.name)
    host.journal.remember(fact, boot)  # last: killed before, the next one does all of it
