"""A journal that was lost is filled again from what is observed."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.core.deploy.running.workers import workers_of
from substitute.core.model.errors import SubstituteError, UnobservedError
from substitute.core.model.events import Warned
from substitute.core.model.records import AppRecord, SlotRecord
from substitute.core.model.slots import SlotName
from substitute.core.model.versions import Version
from substitute.core.state.lock import own_lock, short_lock
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Traffic
    from substitute.core.ports.engine import Engine


def recover_journal(host: Host, apps: Iterable[App]) -> None:
    """Where the journal knows no app, have it know those that run or ran here; say so. A new root stays empty.

    Else `settle` would take an instance that serves for a leftover. All apps come back at once, for the balancer
    gets what the journal says of all of them.
    """
    if host.journal.names():
        return
    with short_lock(host.root / "deploy" / "run" / own_lock("journal")):
        if host.journal.names():
            return
        traffic: Mapping[Endpoint, Traffic] = {}
        with suppress(UnobservedError):
            traffic = host.traffic() or {}
        observed = [(app, _observed(host, app, traffic)) for app in apps]
        found = [(app, record) for app, record in observed if record.live]
        if found:
            host.journal.restore(found, now=host.clock.now())
    if found or host.journal.damaged:
        host.emit(Warned(_told(host, [record for _, record in found])))


def _told(host: Host, found: list[AppRecord]) -> str:
    damaged = host.journal.damaged
    lost = f"was damaged and is kept as {damaged}" if damaged else "was gone"
    seen = ", ".join(f"{one.name} is live in slot {one.live}" for one in found) or "no app runs"
    return (
        f"The journal {host.journal.path} {lost}. A new one was made from what runs: {seen}. "
        "The history is lost; `substitute deploy COMMIT` goes to any earlier version."
    )


def _observed(host: Host, app: App, traffic: Mapping[Endpoint, Traffic]) -> AppRecord:
    slots = {name: _slot(host, app, name, traffic) for name in SlotName}
    posted = _posted(host, app)
    running = [slot for slot in slots.values() if slot.started]
    # With traffic before without, then where the link leads; a link alone tells of the time before a reboot.
    running.sort(key=lambda slot: (slot.share, slot.name is posted), reverse=True)
    live = running[0].name if running else posted
    if live and (place := _own_place(host, app)):
        slots[live] = replace(slots[live], directory=place, commit=_commit(host, app, place))
    wait = app.hold if app.runs_once else None
    return AppRecord(name=app.name, live=live, stopped=False, slots=slots, longest_wait=wait)


def _own_place(host: Host, app: App) -> Path | None:
    """Where the link of an app leads, if that is a directory which one version was built in."""
    with suppress(OSError):
        leads = os.readlink(app.current_link)  # noqa: PTH115  # as it was written
        if app.is_own_place(leads) and host.lock_path(app.name).exists():
            return app.root / leads
    return None


def _commit(host: Host, app: App, directory: Path) -> str | None:
    with suppress(SubstituteError):
        return host.source(app).current(directory)
    return None


def _slot(host: Host, app: App, name: SlotName, traffic: Mapping[Endpoint, Traffic]) -> SlotRecord:
    slot = app.slots[name]
    commit = _commit(host, app, slot.directory)
    shares = [traffic[endpoint].share or 0 for endpoint in slot.endpoints if endpoint in traffic]
    record = SlotRecord(
        app=app.name,
        name=name,
        directory=slot.directory,
        endpoints=slot.endpoints,
        share=max(shares, default=0),
        commit=commit,
        intact=False,
        standby=False,
        drain_timeout=app.drain.timeout,
        stop_timeout=app.stop_timeout,
        version=Version.of(app, host.caller),
        clustered=slot.clustered,
    )
    if app.is_contained and (engine := host.engine()):
        version = replace(Version.of(app, host.caller), image_id=_image(engine, record))
        record = replace(record, version=version)
    expected = (*record.instances, *workers_of(record, app.processes))
    seen = [(one, host.inspect(one).process) for one in expected]
    started = tuple(replace(one, process=process) for one, process in seen if process)
    # Only what serves is surely the finished build of a commit.
    return replace(record, started=started, intact=bool(started) and record.share > 0)


def _image(engine: Engine, slot: SlotRecord) -> str:
    """That of a container which is there, else what is held for its commit; empty where neither is."""
    if image := engine.image_of(slot.web[0].name):
        return image
    with suppress(SubstituteError):
        found = engine.find(engine.name_of(slot.app, slot.commit)) if slot.commit else None
        return found.id if found else ""
    return ""


def _posted(host: Host, app: App) -> SlotName | None:
    """Where the link of an app leads that was worked on here before."""
    if host.lock_path(app.name).exists():
        with suppress(OSError):
            leads = os.readlink(app.current_link)  # noqa: PTH115  # as it was written
            if app.is_own_place(leads):  # nothing runs: the version is live in whichever slot
                return SlotName.A
            return next((name for name, slot in app.slots.items() if slot.directory.name == leads), None)
    return None
