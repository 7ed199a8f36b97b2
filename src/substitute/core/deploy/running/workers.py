"""Processes that answer no requests go from one version to the next in a phase of their own.

They come before the traffic: a new worker knows the jobs that the old version leaves it, an old one not always those of
the new version. Until the commit the journal names the old slot; whatever fails, `settle` has its workers run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.readiness.readiness import await_ready
from substitute.core.deploy.running.instances import start_instances, stop_others
from substitute.core.model.apps import Order
from substitute.core.model.events import Notice
from substitute.core.model.instances import other_instances

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from substitute.core.host import Host
    from substitute.core.model.apps import App, ProcessType
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.records import SlotRecord


def processes_of(app: App, slot: SlotRecord) -> Mapping[str, ProcessType]:
    """Those that the version in `slot` was proven with, beside ``web``; today's where that is not known."""
    return slot.version.processes if slot.version else app.processes


def workers_of(slot: SlotRecord, processes: Mapping[str, ProcessType]) -> tuple[InstanceRecord, ...]:
    """The instances that `slot` has of `processes`."""
    counts = {name: one.instances for name, one in processes.items()}
    return other_instances(slot.app, slot.name, slot.directory, counts)


def change_over(
    host: Host,
    app: App,
    leaving: SlotRecord | None,
    coming: SlotRecord,
    *,
    caller: Mapping[str, str] | None,
    show: Callable[[str], None],
) -> None:
    """Have the workers of `coming` run; what must not run twice is stopped in `leaving` first.

    The others of `leaving` run on until it is stopped. Raises as `start_instances` and `await_ready` do.

    Where `coming` stood by, some of its own may still finish the job that they had when they were told to stop:
    `settle` starts those again, and stops what takes their place until then.
    """
    processes = app.processes if caller else processes_of(app, coming)
    busy = {one.name for one in coming.others if host.running(one)}
    for one in coming.others:
        if one.name in busy:
            host.emit(Notice(f"{one.subject} finishes its job, and is started again behind this command."))
    wanted = [one for one in workers_of(coming, processes) if one.name not in busy]
    first = [one for one in wanted if processes[one.process_type].order is Order.START_FIRST]
    _start(host, app, coming, first, caller=caller, show=show)
    then = [one for one in wanted if one not in first]
    kinds = {one.process_type for one in then}
    if leaving and (told := [one for one in leaving.others if one.process_type in kinds]):
        stop_others(host, app, leaving, told)
    _start(host, app, coming, then, caller=caller, show=show)


def _start(
    host: Host,
    app: App,
    slot: SlotRecord,
    workers: Sequence[InstanceRecord],
    *,
    caller: Mapping[str, str] | None,
    show: Callable[[str], None],
) -> None:
    if workers:
        started, _ = start_instances(host, app, slot, workers, caller=caller)
        await_ready(host, slot, started, show=show)


def have_run(host: Host, app: App, live: SlotRecord, worker: InstanceRecord) -> None:
    """Have `worker` of the live slot run, where its runtime does not see to that.

    One that was told to stop, or that its runtime has lost, is stopped first; so is what runs of it in the other slot.
    """
    if host.inspect(worker).wanted:
        return
    other = host.journal.app(app.name).slots[live.name.other]
    if theirs := [one for one in other.others if one.process_type == worker.process_type]:
        stop_others(host, app, other, theirs)
    known = next((one for one in live.others if one.name == worker.name), worker)
    if host.inspect(known).process:
        stop_others(host, app, live, [known])
    _start(host, app, live, [worker], caller=None, show=lambda _: None)
