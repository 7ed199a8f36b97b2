"""``start`` and ``stop``: one instance, by hand, as the origin had them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from substitute.core.deploy.early_exit import explained
from substitute.core.deploy.instances import start_instance, stop_instance
from substitute.core.deploy.readiness import await_ready
from substitute.core.deploy.serving import in_words, told_truly
from substitute.core.deploy.settle import settle
from substitute.core.excerpt import excerpt
from substitute.core.interrupts import Interrupts, ends_soon
from substitute.core.model.errors import (
    InterruptedByUserError,
    NothingServesError,
    NotReadyError,
    SubstituteError,
    UsageError,
)
from substitute.core.model.events import Notice, Output
from substitute.core.model.slots import SlotName
from substitute.core.operate.guests import start_guest, stop_guest
from substitute.core.state.lock import deployment_lock
from substitute.io.files import read_regular

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
    start_guest(host, name, directory, port, apps.get(name) or _command_of(directory))


def _start_slot(host: Host, app: App, name: SlotName, directory: Path, port: int) -> None:
    with deployment_lock(host.lock_path(app.name), "start"), Interrupts(ends_soon(host.emit)) as interrupts:
        host.journal.register(app)
        host.journal.remember_environment(app.name, host.caller)
        record = host.journal.app(app.name)
        slot = record.slots[name]
        if directory != slot.directory.resolve() or port != slot.endpoints[0].port:
            raise UsageError(
                f"{slot.instance} is slot {name} of app {app.name}.",
                fact=f"Its directory is {slot.directory} and its port {slot.endpoints[0].port}.",
                cure=f"Type `substitute start {slot.instance} {slot.directory} {slot.endpoints[0].port}`, "
                "or choose another name.",
            )
        if record.live is name:
            host.journal.stop_by_hand(app.name, stopped=False)
        elif slot.standby and host.inspect(slot).process:
            host.emit(Notice(f"{slot.instance} runs already."))
            return
        # Whatever runs there may be what a killed command has left, and get requests.
        settled = _settled(host, app, interrupts)
        if record.live is name or settled.live is name:
            _say_who_serves(host, slot, settled)
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
        raise NothingServesError(f"{slot.instance} does not serve.", fact=settled.problem, cure=cure)
    if settled.live is not slot.name:
        serves = f"Slot {settled.live} serves."
        raise NotReadyError(f"{slot.instance} does not answer.", serves=serves, cure=cure)
    host.emit(Notice(f"{slot.instance} serves."))


def _stand_by(host: Host, app: App, slot: SlotRecord, interrupts: Interrupts) -> None:
    try:
        with interrupts.allowed(), explained(host, app, slot):
            process, log, version = start_instance(host, app, slot, standby=True)
            with excerpt(_shower(host), rest=f"see {slot.logs}.") as show:
                await_ready(host, version.health, slot, process, show=show, log=log, start=version.start)
            host.journal.proven(slot, version)
    except Exception:
        stop_instance(host, app, host.journal.app(app.name).slots[slot.name])
        raise
    host.emit(
        Notice(
            f"{slot.instance} (pid {process.pid}) stands by, without requests, until the app's next operation."
        )
    )


def stop(host: Host, apps: Mapping[str, App], name: str, *, force: bool = False) -> None:
    """Drain and stop `name`; return when the process is gone.

    The instance that serves needs `force`: then nothing serves until ``start``, ``deploy`` or ``rollback``,
    and `up` respects it. Raises UsageError for an unknown name.
    """
    if (app := apps.get(name[:-2])) and name[-2:] in {"_a", "_b"}:
        _stop_slot(host, app, SlotName(name[-1]), force=force)
        return
    guest = host.journal.guests().get(name)
    if guest is None:
        raise _no_instance(host, apps, name)
    stop_guest(host, guest)
    host.emit(Notice(f"{name} stopped."))


def _no_instance(host: Host, apps: Mapping[str, App], name: str) -> UsageError:
    if app := apps.get(name):
        both = " or ".join(f"`substitute stop {app.instance(slot)}`" for slot in SlotName)
        return UsageError(
            f"{name} is an app, and `stop` stops one instance.",
            cure=f"Type {both}; `substitute down -a {name}` stops the app.",
        )
    known = [*(app.instance(slot) for app in apps.values() for slot in SlotName), *host.journal.guests()]
    return UsageError(f"No instance is called {name}.", cure=f"There is {', '.join(known)}.")


def _stop_slot(host: Host, app: App, name: SlotName, *, force: bool) -> None:
    with deployment_lock(host.lock_path(app.name), "stop"), Interrupts(ends_soon(host.emit)) as interrupts:
        host.journal.register(app)
        record = host.journal.app(app.name)
        slot = record.slots[name]
        serves = record.live is name and not record.stopped
        if serves and not force:
            raise _needed(app, slot)
        if serves:
            host.journal.stop_by_hand(app.name, stopped=True)
        runs = slot.process or host.inspect(slot).process
        typed = f"substitute stop {slot.instance}{' --force' if force else ''}"
        cure = f"`{typed}` goes on; `substitute restart` lets {app.name} serve again."
        if _settled(host, app, interrupts, cure=cure).live is name:
            raise _needed(app, slot)  # the other one is down, and this one has taken its place
        host.emit(Notice(f"{slot.instance} stopped." if runs else f"{slot.instance} does not run."))


def _needed(app: App, slot: SlotRecord) -> UsageError:
    return UsageError(
        f"{slot.instance} serves {app.name}: if it stops, nothing does.",
        cure=f"Type `substitute stop {slot.instance} --force` if that is what you want.",
    )


def _shower(host: Host) -> Callable[[str], None]:
    return lambda line: host.emit(Output("start", line))


def _command_of(directory: Path) -> str:
    procfile = directory / "Procfile"
    if procfile.is_file():
        for line in read_regular(procfile).decode(errors="replace").splitlines():
            if line.startswith("web:") and line[4:].strip():
                return line[4:].strip()
    package = directory / "package.json"
    if package.is_file():
        try:
            found = json.loads(read_regular(package)).get("scripts", {}).get("start")
        except (ValueError, AttributeError):
            found = None
        if isinstance(found, str) and found.strip():
            return found
    raise UsageError(
        f"How to start {directory.name} is not known.",
        fact="No app of that name is in substitute.toml, and the directory has neither a Procfile with a "
        "`web:` line nor a package.json with `scripts.start`.",
        cure="Add one of them.",
    )
