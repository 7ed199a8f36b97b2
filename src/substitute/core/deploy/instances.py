"""Starting and stopping the process of a slot, with the journal told of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.keeper import let_go
from substitute.core.deploy.readiness import LogTail, require_free
from substitute.core.model.environment import origin
from substitute.core.model.errors import UsageError
from substitute.core.model.events import Notice
from substitute.core.model.versions import Version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.programs import Process
    from substitute.core.model.records import AppRecord, SlotRecord

_ROUNDS = 5
"""How often it is looked again for what those that were ended have started in their last moment."""
_GRACE = 2.0
"""Seconds that what an instance left behind has at least, where its limit allows."""


def start_instance(
    host: Host,
    app: App,
    slot: SlotRecord,
    *,
    standby: bool = False,
    caller: Mapping[str, str] | None = None,
) -> tuple[Process, LogTail, Version]:
    """Start the instance of `slot`: its process, its log from here on, and what it is started with.

    With `caller`, the environment of the command that deploys, that is what `app` says; without, what the slot holds
    starts as it was proven. It is proven when it is ready, which is awaited elsewhere. Raises RuntimeFailedError
    where a port is taken or the runtime cannot start it.
    """
    require_free(host, slot)
    if caller is None:
        app, caller = host.proven(app, slot), host.environment(app, slot)
    program = host.program(app, slot, caller)
    log = LogTail(host.runtime.log(program.name, program.log))
    process = host.runtime.start(program)
    host.journal.running(app.name, slot.name, process, standby=standby)
    return process, log, Version.of(app, caller)


def require_no_strangers(host: Host, app: App, record: AppRecord) -> None:
    """Raise UsageError where no version is live and somebody else listens on a port of either slot.

    A balancer may be about to refuse or to lead away what comes to it.
    """
    if record.live:
        return
    for slot in record.slots.values():
        for endpoint in slot.endpoints:
            holder = host.prober.holder(endpoint)
            if holder and not remains(host, app, slot):
                raise UsageError(
                    f"Port {endpoint.port} of slot {slot.name} is taken.",
                    fact=f"{holder} listens on it. Nothing was changed.",
                    cure=f"Stop it, give slot {slot.name} another port, or type `substitute adopt`.",
                )


def remains(host: Host, app: App, slot: SlotRecord) -> bool:
    """Whether there is anything of `slot` to retire: running, remembered, about to be started again, or left behind."""
    seen = host.inspect(slot)
    known = slot.process is not None or seen.process is not None or seen.wanted
    return known or bool(_left_behind(host, app, slot))


def stop_instance(host: Host, app: App, slot: SlotRecord) -> bool:
    """SIGTERM, and SIGKILL past the slot's stop timeout, which is told: True then. What it left behind ends with it.

    One that was adopted is stopped by what keeps it.
    """
    if adopted := host.adopted(slot):
        let_go(host, slot, adopted)
        return False
    process = host.process_of(slot)
    limit = slot.stop_timeout
    if slot.version and limit > slot.version.stop_timeout:
        limit = slot.version.stop_timeout
        host.emit(
            Notice(f"Slot {slot.name} was started with stop.timeout = {limit:g}s, and that limit holds.")
        )
    stopped = host.runtime.stop(slot.instance, process, timeout=limit)
    if told := stopped.in_words(slot.name, limit):
        host.emit(Notice(told))
    end_left_behind(host, app, slot, timeout=max(limit - stopped.seconds, min(limit, _GRACE)))
    host.journal.gone(slot.app, slot.name)
    return stopped.killed


def end_left_behind(host: Host, app: App, slot: SlotRecord, *, timeout: float) -> None:
    """End what an instance or a build of `slot` has left running apart from itself (a daemon), and name it.

    SIGTERM, and SIGKILL after `timeout` seconds; then whatever was started meanwhile. Raises RuntimeFailedError where
    that is of no use.
    """
    for _ in range(_ROUNDS):
        left = _left_behind(host, app, slot)
        if not left:
            return
        end_all(host, f"Slot {slot.name}", left, timeout=timeout)
        timeout = 0.0


def end_all(host: Host, whose: str, left: Mapping[Process, str], *, timeout: float) -> None:
    """End the processes of `left`, and tell their names. Raises as `end_left_behind` does."""
    if left:
        killed = host.commands.end_all(left, timeout=timeout)
        names = ", ".join(sorted(left.values()))
        how = f" SIGTERM was not enough within {timeout:.1f}s." if killed else ""
        host.emit(Notice(f"{whose} had left {names} running: ended.{how}"))


def _left_behind(host: Host, app: App, slot: SlotRecord) -> Mapping[Process, str]:
    """By the marks that all have which was started for `slot`; not a daemon that the other slot's instance runs in."""
    users = {app.user, slot.version.user if slot.version else app.user}
    found = host.prober.marked(origin(slot), users, host.root)
    if not found:
        return {}
    other = host.journal.app(app.name).slots[slot.name.other]
    return {
        process: name
        for process, name in found.items()
        if not any(host.prober.owned(endpoint, process) for endpoint in other.endpoints)
    }
