"""``start`` and ``stop``: one instance, by hand, as the origin had them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from substitute.core.deploy.readiness.early_exit import explained
from substitute.core.deploy.readiness.readiness import await_ready
from substitute.core.deploy.readiness.serving import in_words, told_truly
from substitute.core.deploy.running.instances import start_instances, stop_slot
from substitute.core.deploy.settle import settle
from substitute.core.deploy.working import working
from substitute.core.excerpt import excerpt
from substitute.core.interrupts import Interrupts, ends_soon
from substitute.core.model import procfile as procfiles
from substitute.core.model.errors import (
    InterruptedByUserError,
    NothingServesError,
    NotReadyError,
    SubstituteError,
    UsageError,
)
from substitute.core.model.events import Notice, Output
from substitute.core.model.slots import SlotName
from substitute.core.operate import one_offs
from substitute.core.operate.guests import start_guest, stop_guest
from substitute.io.files import read_regular
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from substitute.core.deploy.settle import Settled
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import SlotRecord


def start(host: Host, apps: Mapping[str, App], name: str, directory: Path, port: int) -> None:
    """Start `name` in `directory` on `port` and return when the port answers.

    ``shop_a`` is slot a of app shop: it becomes a standby, or the live instance again where it is that.
    Any other name runs as the app that it names, else the Procfile's ``web:`` line, else
    ``scripts.start`` of package.json. Raises UsageError, RuntimeFailedError, NotReadyError.
    """
    directory = directory.resolve()
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory.")
    if (app := apps.get(name[:-2])) and name[-2:] in {"_a", "_b"}:
        _start_slot(host, app, SlotName(name[-1]), directory, port)
        return
    what: App | str = apps.get(name) or _command_of(directory)
    if not isinstance(what, str) and not what.start:
        what = replace(what, start=_command_of(directory))
    start_guest(host, name, directory, port, what)


def _start_slot(host: Host, app: App, name: SlotName, directory: Path, port: int) -> None:
    with working(host, app, "start"), Interrupts(ends_soon(host.emit)) as interrupts:
        host.journal.register(app)
        host.journal.remember_environment(app.name, host.caller)
        record = host.journal.app(app.name)
        slot = record.slots[name]
        if directory != slot.directory.resolve() or port != slot.endpoints[0].port:
            raise UsageError(
                f"{slot.full_name} is slot {name} of app {app.name}.",
                fact=f"Its directory is {slot.directory} and its port {slot.endpoints[0].port}.",
                cure=f"Type `substitute start {slot.full_name} {slot.directory} {slot.endpoints[0].port}`, "
                "or choose another name.",
            )
        if record.live is name:
            host.journal.stop_by_hand(app.name, stopped=False)
        elif (slot.standby or record.holds(host.clock.now()) is slot) and host.runs(slot):
            host.emit(Notice(f"{slot.full_name} runs already."))
            return
        # Whatever runs there may be what a killed command has left, and get requests.
        settled = _settled(host, app, interrupts)
        if record.live is name or settled.live is name:
            _say_who_serves(host, slot, settled)
        elif app.runs_once and record.live and not record.stopped:
            raise UsageError(
                f"{slot.full_name} would run beside the live version of {app.name}.",
                fact=f'app.{app.name}.order = "stop-first" says that no two may run at once. Nothing was changed.',
                cure="`substitute rollback` or `substitute deploy` makes another version live.",
            )
        else:
            _stand_by(host, app, slot, interrupts)


def _settled(
    host: Host, app: App, interrupts: Interrupts, *, cure: str = "`substitute up` goes on."
) -> Settled:
    """`settle`, whose waits may be interrupted. Where it does not come to its end, it is said what is so."""
    try:
        return settle(host, app, interrupts=interrupts)
    except InterruptedByUserError as error:
        so = in_words(host, app)
        raise InterruptedByUserError(error.what, fact=so, cure=cure) from error
    except SubstituteError as error:
        raise told_truly(host, app, error) from error


def _say_who_serves(host: Host, slot: SlotRecord, settled: Settled) -> None:
    cure = f"See {slot.logs}."
    if settled.problem:
        raise NothingServesError(f"{slot.full_name} does not serve.", fact=settled.problem, cure=cure)
    if settled.live is not slot.name:
        serves = f"Slot {settled.live} serves."
        raise NotReadyError(f"{slot.full_name} does not answer.", serves=serves, cure=cure)
    host.emit(Notice(f"{slot.full_name} serves."))


def _stand_by(host: Host, app: App, slot: SlotRecord, interrupts: Interrupts) -> None:
    try:
        with interrupts.allowed(), explained(host, app, slot):
            started, version = start_instances(host, app, slot, slot.web, standby=True)
            with excerpt(_shower(host), rest=f"see {slot.logs}.") as show:
                await_ready(host, slot, started, show=show)
            host.journal.proven(slot, version)
    except Exception:
        stop_slot(host, app, host.journal.app(app.name).slots[slot.name])
        raise
    pids = ", ".join(f"pid {one.process.pid}" for one in started)
    host.emit(
        Notice(f"{slot.full_name} ({pids}) stands by, without requests, until the app's next operation.")
    )


def stop(host: Host, apps: Mapping[str, App], name: str, *, force: bool = False) -> None:
    """Drain and stop `name`; return when the process is gone.

    The instance that serves needs `force`: then nothing serves until ``start``, ``deploy`` or ``rollback``,
    and `up` respects it. Raises UsageError for an unknown name.
    """
    if (app := apps.get(name[:-2])) and name[-2:] in {"_a", "_b"}:
        _stop_slot(host, app, SlotName(name[-1]), force=force)
        return
    if run := one_offs.find(host, name):
        one_offs.stop(host, run)
        return
    guest = host.journal.guests().get(name)
    if guest is None:
        raise _no_instance(host, apps, name)
    stop_guest(host, guest)
    host.emit(Notice(f"{name} stopped."))


def _no_instance(host: Host, apps: Mapping[str, App], name: str) -> UsageError:
    if app := apps.get(name):
        both = " or ".join(f"`substitute stop {app.full_name(slot)}`" for slot in SlotName)
        return UsageError(
            f"{name} is an app, and `stop` stops one instance.",
            cure=f"Type {both}; `substitute down -a {name}` stops the app.",
        )
    known = [*(app.full_name(slot) for app in apps.values() for slot in SlotName), *host.journal.guests()]
    return UsageError(f"No instance is called {name}.", cure=f"There is {', '.join(known)}.")


def _stop_slot(host: Host, app: App, name: SlotName, *, force: bool) -> None:
    with working(host, app, "stop"), Interrupts(ends_soon(host.emit)) as interrupts:
        host.journal.register(app)
        record = host.journal.app(app.name)
        slot = record.slots[name]
        serves = record.live is name and not record.stopped
        if serves and not force:
            raise _needed(app, slot)
        if serves:
            host.journal.stop_by_hand(app.name, stopped=True)
        elif slot.standby:
            host.journal.end_standby(app.name)
        elif record.hold and record.hold.slot is name:
            host.journal.end_hold(app.name, reason="It was stopped by hand.")
        runs = slot.started or host.runs(slot)
        typed = f"substitute stop {slot.full_name}{' --force' if force else ''}"
        cure = f"`{typed}` goes on; `substitute restart` lets {app.name} serve again."
        if _settled(host, app, interrupts, cure=cure).live is name:
            raise _needed(app, slot)  # the other one is down, and this one has taken its place
        host.emit(Notice(f"{slot.full_name} stopped." if runs else f"{slot.full_name} does not run."))


def _needed(app: App, slot: SlotRecord) -> UsageError:
    return UsageError(
        f"{slot.full_name} serves {app.name}: if it stops, nothing does.",
        cure=f"Type `substitute stop {slot.full_name} --force` if that is what you want.",
    )


def _shower(host: Host) -> Callable[[str], None]:
    return lambda line: host.emit(Output("start", line))


def _command_of(directory: Path) -> str:
    procfile = directory / procfiles.NAME
    if procfile.is_file():
        found = procfiles.parse(read_regular(procfile).decode(errors="replace"))
        if procfiles.WEB in found.commands:
            return found.commands[procfiles.WEB]
    package = directory / "package.json"
    if package.is_file():
        try:
            script = json.loads(read_regular(package)).get("scripts", {}).get("start")
        except (ValueError, AttributeError):
            script = None
        if isinstance(script, str) and script.strip():
            return script
    raise UsageError(
        f"How to start {directory.name} is not known.",
        fact="No app of that name is in substitute.toml, and the directory has neither a Procfile with a "
        "`web:` line nor a package.json with `scripts.start`.",
        cure="Add one of them.",
    )
