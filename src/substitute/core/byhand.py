"""``start`` and ``stop``: one instance, by hand, as the origin had them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from substitute.core.apps import Health
from substitute.core.environment import caller_environment
from substitute.core.errors import NothingServesError, NotReadyError, SubstituteError, UsageError
from substitute.core.events import Notice, Output
from substitute.core.health import LogTail, await_ready, require_free
from substitute.core.instances import start_instance, stop_instance
from substitute.core.interrupts import Interrupts
from substitute.core.lock import deployment_lock
from substitute.core.ports import Program
from substitute.core.records import SlotRecord
from substitute.core.settle import settle
from substitute.core.slots import Endpoint, SlotName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from substitute.core.apps import App
    from substitute.core.host import Host
    from substitute.core.records import GuestRecord
    from substitute.core.settle import Settled

_GUEST_PATIENCE = 30.0
_GUEST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def start(host: Host, apps: Mapping[str, App], name: str, directory: Path, port: int) -> None:
    """Start `name` in `directory` on `port` and return when the port answers.

    ``shop_a`` is slot a of app shop: it becomes a standby, or the live instance again where it is that.
    Any other name runs the `start` of the app that it names, else the Procfile's ``web:`` line, else
    ``scripts.start`` of package.json. Raises UsageError, RuntimeFailedError, NotReadyError.
    """
    directory = directory.resolve()
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory.")
    if (app := apps.get(name[:-2])) and name[-2:] in {"_a", "_b"}:
        _start_slot(host, app, SlotName(name[-1]), directory, port)
        return
    app = apps.get(name)
    _start_guest(
        host, name, app.start if app else _command_of(directory), directory=directory, port=port, app=app
    )


def _start_slot(host: Host, app: App, name: SlotName, directory: Path, port: int) -> None:
    with deployment_lock(host.lock_path(app.name), "start"), Interrupts() as interrupts:
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
        settled = settle(host, app)
        if record.live is name or settled.live is name:
            _say_who_serves(host, slot, settled)
        else:
            _stand_by(host, app, slot, interrupts)


def _say_who_serves(host: Host, slot: SlotRecord, settled: Settled) -> None:
    cure = f"See `substitute logs {slot.name}`."
    if settled.problem:
        raise NothingServesError(f"{slot.instance} does not serve.", fact=settled.problem, cure=cure)
    if settled.live is not slot.name:
        serves = f"Slot {settled.live} serves."
        raise NotReadyError(f"{slot.instance} does not answer.", serves=serves, cure=cure)
    host.emit(Notice(f"{slot.instance} serves."))


def _stand_by(host: Host, app: App, slot: SlotRecord, interrupts: Interrupts) -> None:
    try:
        with interrupts.allowed():
            process, log, version = start_instance(host, app, slot, standby=True)
            await_ready(host, version.health, slot, process, show=_shower(host), log=log)
            host.journal.proven(slot, version)
    except SubstituteError:
        stop_instance(host, host.journal.app(app.name).slots[slot.name])
        raise
    host.emit(
        Notice(
            f"{slot.instance} (pid {process.pid}) stands by, without requests, until the app's next operation."
        )
    )


def resume_guest(host: Host, guest: GuestRecord) -> None:
    """Start a guest again where it does not run: after a reboot."""
    if guest.process is None or not host.prober.alive(guest.process):
        _start_guest(host, guest.name, guest.command, directory=guest.directory, port=guest.port)


def _start_guest(
    host: Host, name: str, command: str, *, directory: Path, port: int, app: App | None = None
) -> None:
    if not _GUEST_NAME.fullmatch(name) or name == "haproxy" or name.endswith("_guardian"):
        raise UsageError(f"{name!r} cannot be the name of an instance.", cure="Use letters, digits, - and _.")
    environment = {
        **caller_environment(host.caller),
        **({**app.secrets, **app.env} if app else {}),
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "BIND": "127.0.0.1",
        "SUBSTITUTE_APP": name,
        "SUBSTITUTE_PORT": str(port),
    }
    logs = host.root / "deploy" / "run" / "log"
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    stop_timeout = app.stop_timeout if app else 30.0
    program = Program(
        name=name,
        command=command,
        directory=directory,
        environment=environment,
        log=logs / f"{name}.log",
        stop_timeout=stop_timeout,
    )
    with deployment_lock(host.guest_lock_path(name), "start"), Interrupts() as interrupts:
        known = host.journal.guests().get(name)
        if known and known.process and host.prober.alive(known.process):
            host.emit(Notice(f"{name} runs already, in {known.directory} on port {known.port}."))
            return
        _run_guest(host, program, Endpoint("127.0.0.1", port), interrupts)


def _run_guest(host: Host, program: Program, endpoint: Endpoint, interrupts: Interrupts) -> None:
    """Start a guest and wait until its port accepts; stop it again where it does not."""
    slot = SlotRecord(
        app=program.name,
        name=SlotName.A,
        directory=program.directory,
        endpoints=(endpoint,),
        share=0,
        commit=None,
        intact=False,
        process=None,
        standby=True,
        drain_timeout=0.0,
        stop_timeout=program.stop_timeout,
        instance_name=program.name,
    )
    require_free(host, slot)
    log = LogTail(host.runtime.log(program.name, program.log))
    try:
        with interrupts.allowed():
            process = host.runtime.start(program)
            host.journal.host_guest(program, endpoint.port, process)
            health = Health("tcp", "/", None, timeout=_GUEST_PATIENCE, interval=0.05, successes=1)
            await_ready(host, health, slot, process, show=_shower(host), log=log)
            host.emit(Notice(f"{program.name} (pid {process.pid}) answers on port {endpoint.port}."))
    except SubstituteError:
        host.runtime.stop(program.name, None, timeout=program.stop_timeout)
        host.journal.dismiss_guest(program.name)
        raise


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
        known = [app.instance(slot) for app in apps.values() for slot in SlotName]
        raise UsageError(
            f"Nothing is called {name}.", cure=f"There is {', '.join([*known, *host.journal.guests()])}."
        )
    with deployment_lock(host.guest_lock_path(name), "stop"), Interrupts():
        stop_guest(host, guest)
        host.emit(Notice(f"{name} stopped."))


def stop_guest(host: Host, guest: GuestRecord) -> None:
    """Stop a guest and forget it."""
    host.runtime.stop(guest.name, guest.process, timeout=30.0)
    host.journal.dismiss_guest(guest.name)


def _stop_slot(host: Host, app: App, name: SlotName, *, force: bool) -> None:
    with deployment_lock(host.lock_path(app.name), "stop"), Interrupts():
        host.journal.register(app)
        record = host.journal.app(app.name)
        slot = record.slots[name]
        serves = record.live is name and not record.stopped
        if serves and not force:
            raise _needed(app, slot)
        if serves:
            host.journal.stop_by_hand(app.name, stopped=True)
        runs = slot.process or host.inspect(slot).process
        if settle(host, app).live is name:
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
        for line in procfile.read_text(errors="replace").splitlines():
            if line.startswith("web:") and line[4:].strip():
                return line[4:].strip()
    package = directory / "package.json"
    if package.is_file():
        try:
            found = json.loads(package.read_text()).get("scripts", {}).get("start")
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
