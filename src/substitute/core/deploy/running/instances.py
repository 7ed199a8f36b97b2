"""Starting and stopping the instances of a slot, with the journal told of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.readiness.health_check import program_of
from substitute.core.deploy.readiness.readiness import require_free
from substitute.core.deploy.readiness.started import LogTail, Started
from substitute.core.deploy.running.keeper import let_go
from substitute.core.deploy.running.runs import without_runs
from substitute.core.deploy.secrets import holding, keep
from substitute.core.model.environment import origin
from substitute.core.model.errors import RuntimeFailedError, UsageError
from substitute.core.model.events import Notice
from substitute.core.model.instances import WEB
from substitute.core.model.versions import Version, health_of, stop_signal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.programs import Process
    from substitute.core.model.records import AppRecord, SlotRecord

_ROUNDS = 5
"""How often it is looked again for what those that were ended have started in their last moment."""
_TICK = 0.02
_GRACE = 2.0
"""Seconds that what an instance left behind has at least, where its limit allows."""


def start_instances(
    host: Host,
    app: App,
    slot: SlotRecord,
    instances: Iterable[InstanceRecord],
    *,
    standby: bool = False,
    caller: Mapping[str, str] | None = None,
) -> tuple[list[Started], Version]:
    """Start `instances` of `slot` side by side, and return what they are started with. None is awaited here.

    With `caller`, the environment of the command that deploys, that is what `app` says; without, what the slot holds
    starts as it was proven. It is proven when it is ready. Raises RuntimeFailedError where a port is taken or the
    runtime cannot start one.
    """
    from substitute.core.deploy.procfile import with_command  # noqa: PLC0415  # a rollback to a standby starts nothing

    wanted = tuple(instances)
    if host.edges and slot.clustered:
        host.edges.require_held(app.name)
    require_free(host, slot, wanted)
    if caller is None:
        app, caller = host.proven(app, slot), host.environment(app, slot)
    if app.is_contained and not app.image.id:
        raise RuntimeFailedError(
            f"Which image slot {slot.name} is to run in is not known.",
            cure="`substitute deploy` brings a version of which it is.",
        )
    app = holding(host, with_command(host, app, slot), slot)
    keep(host, slot.full_name, app.secrets.sources, app.secrets.values)
    host.journal.starting(slot, wanted, standby=standby)
    return [_start(host, app, slot, one, caller) for one in wanted], Version.of(app, caller)


def _start(
    host: Host, app: App, slot: SlotRecord, instance: InstanceRecord, caller: Mapping[str, str]
) -> Started:
    program = host.program(app, slot, instance, caller)
    log = LogTail(host.runtime.log(program.name, program.log))
    process = host.runtime.start(program)
    host.journal.running(instance, process)
    health = app.of(instance.process_type).health
    return Started(instance, process, log, program, health)


def running(host: Host, app: App, slot: SlotRecord) -> list[Started]:
    """The web instances of `slot` that run, as if they had just been started."""
    health, found = health_of(app, slot.version), []
    for one in slot.web:
        if process := host.running(one):
            program = program_of(host, app, slot, one)
            found.append(
                Started(one, process, LogTail(host.runtime.log(program.name, program.log)), program, health)
            )
    return found


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
    if any(one.process for one in slot.instances):
        return True
    for one in slot.instances:
        seen = host.inspect(one)
        if seen.process or seen.wanted:
            return True
    return bool(_left_behind(host, app, slot))


def stop_slot(host: Host, app: App, slot: SlotRecord, behind: Sequence[InstanceRecord] = ()) -> bool:
    """Stop all instances of `slot` side by side. What they left behind ends with them.

    Those `behind` are told to stop and not waited for: whoever settles next does.

    The stop signal, and SIGKILL past the stop timeout, which is told: True then. An adopted app is stopped by
    what keeps it.
    """
    if adopted := host.adopted(slot):
        let_go(host, slot, adopted)
        return False
    for one in behind:
        _tell(host, app, slot, one, host.process_of(one))
    killed, patience = _stop(host, app, slot, [one for one in slot.instances if one not in behind])
    if behind:
        host.journal.ended([one for one in slot.started if one not in behind])
        return killed
    end_left_behind(host, app, slot, timeout=patience)
    host.journal.gone(slot.app, slot.name)
    return killed


def stop_others(
    host: Host,
    app: App,
    slot: SlotRecord,
    instances: Sequence[InstanceRecord],
    behind: Sequence[InstanceRecord] = (),
    *,
    since: float | None = None,
) -> bool:
    """Stop some `instances` of `slot`; the rest of it runs on. Whether one had to be killed.

    Those `behind` are told to stop and not waited for: whoever settles next does. `since` is when the others were told,
    by the monotonic clock; None: they are told now.
    """
    for one in behind:
        _tell(host, app, slot, one, host.process_of(one))
    instances = [one for one in instances if one not in behind]
    killed, patience = _stop(host, app, slot, instances, since=since)
    for process_type in {one.process_type for one in instances}:
        end_left_behind(host, app, slot, process_type, timeout=patience)
    host.journal.ended(instances)
    return killed


def let_finish(
    host: Host,
    app: App,
    slot: SlotRecord,
    instances: Sequence[InstanceRecord],
    *,
    called_away: Callable[[], bool],
) -> list[InstanceRecord]:
    """Tell `instances` of `slot` to stop, and wait until they have, for as long as each may take.

    Returns those that still work where the caller is `called_away`: whoever settles next completes it.
    """
    for one in instances:
        _tell(host, app, slot, one, host.process_of(one))
    deadline = host.clock.monotonic() + max(_limit(host, app, slot, one) for one in instances)
    while left := [one for one in instances if host.running(one)]:
        if called_away():
            return left
        if host.clock.monotonic() >= deadline:
            break
        host.clock.sleep(_TICK)
    return []


def _stop(
    host: Host,
    app: App,
    slot: SlotRecord,
    instances: Sequence[InstanceRecord],
    *,
    since: float | None = None,
) -> tuple[bool, float]:
    """Whether one had to be killed, and the seconds that what they left behind has yet."""
    processes = [(one, host.process_of(one), _limit(host, app, slot, one)) for one in instances]
    began = host.clock.monotonic() if since is None else since
    for one, process, _ in processes if len(processes) > 1 else ():
        _tell(host, app, slot, one, process)
    killed, patience = False, 0.0
    for one, process, limit in processes:
        waited = host.clock.monotonic() - began
        signal = stop_signal_of(app, slot.version, one.process_type)
        stopped = host.runtime.stop(one.name, process, timeout=max(limit - waited, 0.0), signal=signal)
        if told := stopped.in_words(one.called, limit, signal):
            host.emit(Notice(told))
        killed = killed or stopped.killed
        patience = max(patience, limit - waited - stopped.seconds, min(limit, _GRACE))
    return killed, patience


def _tell(host: Host, app: App, slot: SlotRecord, instance: InstanceRecord, process: Process | None) -> None:
    """Tell it to stop, and do not wait."""
    signal = stop_signal_of(app, slot.version, instance.process_type)
    host.runtime.terminate(instance.name, process, signal=signal)


def _limit(host: Host, app: App, slot: SlotRecord, instance: InstanceRecord) -> float:
    """Seconds until SIGKILL: today's, but no more than its runtime was told when it was started."""
    if instance.process_type != WEB:
        known = {**(slot.version.processes if slot.version else {}), **app.processes}
        settings = known.get(instance.process_type)
        return settings.stop_timeout if settings else slot.stop_timeout
    limit = slot.stop_timeout
    if slot.version and limit > slot.version.stop_timeout:
        limit = slot.version.stop_timeout
        host.emit(
            Notice(f"Slot {slot.name} was started with stop.timeout = {limit:g}s, and that limit holds.")
        )
    return limit


def end_left_behind(
    host: Host, app: App, slot: SlotRecord, process_type: str = "", *, timeout: float
) -> None:
    """End what an instance or a build of `slot` has left running apart from itself (a daemon), and name it.

    With `process_type` that of its instances alone.

    SIGTERM, and SIGKILL after `timeout` seconds; then whatever was started meanwhile. Raises RuntimeFailedError where
    that is of no use.
    """
    for _ in range(_ROUNDS):
        left = _left_behind(host, app, slot, process_type)
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


def _left_behind(host: Host, app: App, slot: SlotRecord, process_type: str = "") -> Mapping[Process, str]:
    """By the marks that all have which was started for `slot`; not a daemon that the other slot's instance runs in."""
    processes = [*app.processes.values(), *(slot.version.processes.values() if slot.version else ())]
    users = {app.user, slot.version.user if slot.version else app.user, *(one.user for one in processes)}
    found = without_runs(
        host, slot, host.instances.marked(origin(slot, process_type), users, host.root), users
    )
    if not found:
        return {}
    other = host.journal.app(app.name).slots[slot.name.other]
    return {
        process: name
        for process, name in found.items()
        if not any(host.instances.owned(endpoint, process) for endpoint in other.endpoints)
    }
