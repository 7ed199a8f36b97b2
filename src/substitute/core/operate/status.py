"""What is so now, as one document: observed, not remembered."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from substitute.core.deploy.crashes import LATELY, MANY, crashes
from substitute.core.deploy.versions.rollbacks import what_rollback_is
from substitute.core.host import log_of
from substitute.core.model.errors import (
    SubstituteError,
    UnobservedError,
)
from substitute.core.model.instances import WEB
from substitute.core.model.records import unregistered
from substitute.core.model.slots import SlotName, SlotState
from substitute.core.state.hand_lock import locks_on
from substitute.core.state.lock import holder_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.programs import Inspection
    from substitute.core.model.records import AppRecord, DeploymentRecord, GuestRecord, SlotRecord
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Traffic


_LAST_WORDS = 5


def observe(host: Host, apps: Iterable[App]) -> dict[str, Any]:
    """The ``status --json`` document, from processes, sockets and the balancer's own answer."""
    traffic = None
    with suppress(UnobservedError):
        traffic = host.traffic()
    found = [_app(host, app, traffic or {}) for app in apps]
    return {
        "apps": found,
        "guests": [_guest(host, guest) for guest in host.journal.guests().values()],
        "balancer": {"running": None if traffic is None else bool(traffic)},
    }


def out_of_service(host: Host, apps: Iterable[App]) -> list[str]:
    """Those of `apps` that should serve and do not: not ready, crash-looping, or without a share."""
    from substitute.core.deploy.readiness.readiness import answers  # noqa: PLC0415

    try:
        traffic, unseen = host.traffic(), False
    except UnobservedError:
        traffic, unseen = None, True
    found = []
    for app in apps:
        record = host.journal.app(app.name) if app.name in host.journal.names() else None
        live = record.live_slot if record and not record.stopped else None
        if live is None or (record and _waits(host, record)):
            continue
        reached = traffic is None or any(traffic[e].share != 0 for e in live.endpoints if e in traffic)
        instances = [(one, host.inspect(one)) for one in live.instances]
        loops = any(_crash_loops(host, one, seen) for one, seen in instances)
        gone = any(
            one.process_type != WEB and not seen.process and not seen.wanted for one, seen in instances
        )
        if unseen or not reached or loops or gone or not answers(host, app, live):
            found.append(app.name)
    return found


def _waits(host: Host, record: AppRecord) -> bool:
    """Whether its requests wait while one version follows the other, and no longer than each may."""
    since = record.waits_since
    return since is not None and host.clock.now() - since < (record.longest_wait or 0.0)


def _app(host: Host, app: App, traffic: Mapping[Endpoint, Traffic]) -> dict[str, Any]:
    known = app.name in host.journal.names()
    record = host.journal.app(app.name) if known else unregistered(app)
    holder = holder_of(host.lock_path(app.name))
    unfinished = host.journal.unfinished(app.name) if holder else []
    deployment = unfinished[-1] if unfinished else None
    return {
        "name": app.name,
        "removed": app.removed,
        "live": record.live,
        "stopped": record.stopped,
        "locks": [
            {"text": lock.text, "by": lock.by, "since": _iso(lock.since), "app": lock.app}
            for lock in locks_on(host.journal, app.name)
        ],
        "next_deploy": record.next_slot,
        "runs": _runs(host, app.name) if known else [],
        "rollback": what_rollback_is(host, app) if known else None,
        "held": _held(host, record),
        "kept": host.journal.kept_commits(app.name) if known else [],
        "deployment": deployment
        and {
            "id": deployment.id,
            "operation": deployment.operation,
            "slot": deployment.slot,
            "commit": deployment.commit,
            "phase": deployment.phase,
            "pid": holder.pid if holder else None,
        },
        "slots": {
            name.value: _slot(
                host, app, record.slots[name], record=record, deployment=deployment, traffic=traffic
            )
            for name in SlotName
        },
    }


def _held(host: Host, record: AppRecord) -> dict[str, Any] | None:
    """What waits for a person, and the links by which it can be looked at."""
    slot, hold = record.holds(host.clock.now()), record.hold
    if slot is None or hold is None:
        return None
    return {
        "slot": hold.slot,
        "commit": slot.commit,
        "deployment": hold.deployment,
        "until": _iso(hold.until),
        "token": hold.token,
        "links": list(host.previews(record.name)),
    }


def _runs(host: Host, app: str) -> list[dict[str, Any]]:
    """The commands that run beside its instances."""
    if not host.journal.runs(app):
        return []
    from substitute.core.deploy.running.runs import under_way  # noqa: PLC0415

    return [
        {
            "name": run.name,
            "command": run.command,
            "cron": run.cron or None,
            "slot": run.slot,
            "pid": run.process.pid if run.process else None,
            "user": run.user,
            "since": _iso(run.started),
            "detached": run.detached,
        }
        for run in under_way(host, app)
    ]


def _slot(
    host: Host,
    app: App,
    slot: SlotRecord,
    *,
    record: AppRecord,
    deployment: DeploymentRecord | None,
    traffic: Mapping[Endpoint, Traffic],
) -> dict[str, Any]:
    instances = [(one, host.inspect(one)) for one in slot.instances]
    main, inspected = next((pair for pair in instances if pair[1].process), instances[0])
    process = inspected.process
    seen = [traffic[endpoint] for endpoint in slot.endpoints if endpoint in traffic]
    state = _state(host, record, slot, instances, deployment)
    serves = state in {SlotState.LIVE, SlotState.FAILED}
    looping = [one for one, seen in instances if serves and _crash_loops(host, one, seen)]
    state = SlotState.FAILED if any(one.process_type == WEB for one in looping) else state
    return {
        "state": state,
        # After a build that failed, its files are at no version that is known.
        "commit": slot.commit if slot.intact or process or record.live is slot.name else None,
        "adopted": adopted.called if (adopted := host.adopted(slot)) else None,
        "directory": str(slot.directory),
        "port": slot.endpoints[0].port,
        "pid": (process and process.pid) or None,
        "share": _share(seen),
        "in_flight": sum(one.in_flight for one in seen),
        "up_seconds": _up_seconds(host, inspected),
        "restarts": None if state is SlotState.IDLE else crashes(main, inspected),
        "crash_looping": bool(looping),
        "started": _started(host, slot) if looping else None,
        "last_exit": inspected.exit if state is SlotState.FAILED else "",
        "last_words": _last_words(host, app, main) if state is SlotState.FAILED else [],
        "instances": [_instance(host, one, seen, looping=one in looping) for one, seen in instances],
    }


def _instance(host: Host, one: InstanceRecord, seen: Inspection, *, looping: bool) -> dict[str, Any]:
    return {
        "name": one.name,
        "process": one.process_type,
        "number": one.number,
        "port": one.endpoints[0].port if one.endpoints else None,
        "pid": (seen.process and seen.process.pid) or None,
        "up_seconds": _up_seconds(host, seen),
        "restarts": crashes(one, seen),
        "crash_looping": looping,
        "last_exit": "" if seen.process else seen.exit,
        **({"awaited": seen.awaited} if seen.awaited and not seen.ready else {}),
    }


def _up_seconds(host: Host, seen: Inspection) -> float | None:
    return round(host.instances.age(seen.process), 1) if seen.process else None


def _guest(host: Host, guest: GuestRecord) -> dict[str, Any]:
    from substitute.core.operate.guests import as_instance  # noqa: PLC0415

    process = host.inspect(as_instance(guest)).process
    return {
        "name": guest.name,
        "directory": str(guest.directory),
        "port": guest.port,
        "pid": process.pid if process else None,
        "up_seconds": round(host.instances.age(process), 1) if process else None,
    }


def _crash_loops(host: Host, instance: InstanceRecord, seen: Inspection) -> bool:
    """Whether it crashed many times, and has not run for long."""
    new = seen.process is None or host.instances.age(seen.process) < LATELY
    return (crashes(instance, seen) or 0) >= MANY and new


def _started(host: Host, slot: SlotRecord) -> str | None:
    """When the latest deployment to `slot` began, in ISO 8601."""
    began = next((one.started for one in host.journal.past(slot.app) if one.slot is slot.name), None)
    return None if began is None else _iso(began)


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds")


def _last_words(host: Host, app: App, instance: InstanceRecord) -> list[str]:
    with suppress(SubstituteError, OSError):
        lines = host.runtime.last_lines(instance.name, log_of(app, instance), _LAST_WORDS)
        return [line for line in lines if line.strip()]
    return []


def _share(seen: list[Traffic]) -> int | None:
    """The largest of its endpoints' shares; None where the balancer can't tell."""
    shares = [one.share for one in seen]
    return max((share for share in shares if share is not None), default=None if shares else 0)


def _state(
    host: Host,
    record: AppRecord,
    slot: SlotRecord,
    instances: list[tuple[InstanceRecord, Inspection]],
    deployment: DeploymentRecord | None,
) -> SlotState:
    web = [(one, seen.process) for one, seen in instances if one.process_type == WEB and seen.process]
    if not web:
        wanted = record.live is slot.name and not record.stopped
        # No share: after `down`, or since somebody else has taken its port.
        should_run = slot.share > 0 or any(map(host.prober.holder, slot.endpoints))
        if not wanted and any(seen.process for _, seen in instances):  # a worker that finishes its job
            return SlotState.DRAINING
        return SlotState.FAILED if wanted and should_run else SlotState.IDLE
    if record.live is slot.name:
        # One that crashes at each boot is there for moments, and never listens.
        heard = any(
            host.instances.owned(endpoint, process) is not None
            for one, process in web
            for endpoint in one.endpoints
        )
        return SlotState.LIVE if heard else SlotState.FAILED
    if deployment and deployment.slot is slot.name:
        return SlotState.CANDIDATE
    if record.holds(host.clock.now()) is slot:
        return SlotState.HELD
    return SlotState.STANDBY if slot.standby else SlotState.DRAINING
