"""What is so now, as one document: observed, not remembered."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from substitute.core.deploy.readiness import answers
from substitute.core.model.errors import (
    SubstituteError,
    UnobservedError,
)
from substitute.core.model.records import unregistered
from substitute.core.model.slots import SlotName, SlotState
from substitute.core.operate.guests import as_slot
from substitute.core.state.lock import holder_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.programs import Inspection, Process
    from substitute.core.model.records import AppRecord, DeploymentRecord, GuestRecord, SlotRecord
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Traffic


_MANY, _LATELY = 3, 60.0
"""An instance that crashed so often, and runs for less than so many seconds, crash-loops."""
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
    try:
        traffic, unseen = host.traffic(), False
    except UnobservedError:
        traffic, unseen = None, True
    found = []
    for app in apps:
        record = host.journal.app(app.name) if app.name in host.journal.names() else None
        live = record.live_slot if record and not record.stopped else None
        if live is None:
            continue
        reached = traffic is None or any(traffic[e].share != 0 for e in live.endpoints if e in traffic)
        seen = host.inspect(live)
        loops = _crash_loops(host, seen.process, _crashes(live, seen))
        if unseen or not reached or loops or not answers(host, app, live):
            found.append(app.name)
    return found


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
        "next_deploy": record.next_slot,
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


def _slot(
    host: Host,
    app: App,
    slot: SlotRecord,
    *,
    record: AppRecord,
    deployment: DeploymentRecord | None,
    traffic: Mapping[Endpoint, Traffic],
) -> dict[str, Any]:
    inspected = host.inspect(slot)
    process = inspected.process
    seen = [traffic[endpoint] for endpoint in slot.endpoints if endpoint in traffic]
    state = _state(host, record, slot, process, deployment)
    crashes = _crashes(slot, inspected)
    loops = state in {SlotState.LIVE, SlotState.FAILED} and _crash_loops(host, process, crashes)
    state = SlotState.FAILED if loops else state
    return {
        "state": state,
        # After a build that failed, its files are at no version that is known.
        "commit": slot.commit if slot.intact or process or record.live is slot.name else None,
        "adopted": adopted.called if (adopted := host.adopted(slot)) else None,
        "port": slot.endpoints[0].port,
        "pid": process.pid if process else None,
        "share": _share(seen),
        "in_flight": sum(one.in_flight for one in seen),
        "up_seconds": round(host.prober.age(process), 1) if process else None,
        "restarts": None if state is SlotState.IDLE else crashes,
        "crash_looping": loops,
        "started": _started(host, slot) if loops else None,
        "last_exit": inspected.exit if state is SlotState.FAILED else "",
        "last_words": _last_words(host, app, slot) if state is SlotState.FAILED else [],
    }


def _guest(host: Host, guest: GuestRecord) -> dict[str, Any]:
    process = host.inspect(as_slot(guest)).process
    return {
        "name": guest.name,
        "directory": str(guest.directory),
        "port": guest.port,
        "pid": process.pid if process else None,
        "up_seconds": round(host.prober.age(process), 1) if process else None,
    }


def _crashes(slot: SlotRecord, seen: Inspection) -> int | None:
    """How often the instance of `slot` ended by itself since it was started here; None where nobody counts."""
    if seen.restarts is not None:
        return seen.restarts
    if slot.process is None or slot.process.pid not in seen.pids:
        return None
    lives = len(seen.pids) - max(at for at, pid in enumerate(seen.pids) if pid == slot.process.pid)
    return lives - 1 if seen.process else lives


def _crash_loops(host: Host, process: Process | None, crashes: int | None) -> bool:
    return (crashes or 0) >= _MANY and (process is None or host.prober.age(process) < _LATELY)


def _started(host: Host, slot: SlotRecord) -> str | None:
    """When the latest deployment to `slot` began, in ISO 8601."""
    began = next((one.started for one in host.journal.history(slot.app) if one.slot is slot.name), None)
    return None if began is None else datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds")


def _last_words(host: Host, app: App, slot: SlotRecord) -> list[str]:
    with suppress(SubstituteError, OSError):
        file = app.log_directory / f"{slot.name}.log"
        return [line for line in host.runtime.last_lines(slot.instance, file, _LAST_WORDS) if line.strip()]
    return []


def _share(seen: list[Traffic]) -> int | None:
    """The largest of its endpoints' shares; None where the balancer can't tell."""
    shares = [one.share for one in seen]
    return max((share for share in shares if share is not None), default=None if shares else 0)


def _state(
    host: Host,
    record: AppRecord,
    slot: SlotRecord,
    process: Process | None,
    deployment: DeploymentRecord | None,
) -> SlotState:
    if process is None:
        wanted = record.live is slot.name and not record.stopped
        # No share: after `down`, or since somebody else has taken its port.
        should_run = slot.share > 0 or any(map(host.prober.holder, slot.endpoints))
        return SlotState.FAILED if wanted and should_run else SlotState.IDLE
    if record.live is slot.name:
        # One that crashes at each boot is there for moments, and never listens.
        heard = all(host.prober.owned(endpoint, process) is not None for endpoint in slot.endpoints)
        return SlotState.LIVE if heard else SlotState.FAILED
    if deployment and deployment.slot is slot.name:
        return SlotState.CANDIDATE
    return SlotState.STANDBY if slot.standby else SlotState.DRAINING
