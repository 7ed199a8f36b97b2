"""Guests: processes that `start` runs under names which are no slots, beside the apps and without their traffic.

They come back with `up` as they were started, after a reboot and after `down`; only `stop` forgets them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from substitute.core.deploy.instances import end_all
from substitute.core.deploy.readiness import LogTail, await_ready, require_free
from substitute.core.excerpt import excerpt
from substitute.core.interrupts import Interrupts, ends_soon
from substitute.core.model.apps import Health
from substitute.core.model.environment import guest_environment, guest_origin
from substitute.core.model.errors import UsageError
from substitute.core.model.events import Notice, Output
from substitute.core.model.programs import Limits, Program, Protection
from substitute.core.model.records import GuestRecord, SlotRecord
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.model.versions import Version
from substitute.core.state.lock import deployment_lock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.core.host import Host
    from substitute.core.model.apps import App

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LISTENS = Health("tcp", "/", None, timeout=30.0, interval=0.05, successes=1)


def start_guest(host: Host, name: str, directory: Path, port: int, what: App | str) -> None:
    """Start `name` in `directory`, and return when `port` accepts: as the app `what`, or the command."""
    if name == "haproxy" or name.endswith("_guardian"):
        raise UsageError(
            f"{name!r} cannot be the name of a guest.",
            fact="substitute itself runs something under that name.",
            cure="Choose another name.",
        )
    if not _NAME.fullmatch(name) or name in set(SlotName):
        raise UsageError(
            f"{name!r} cannot be the name of a guest.",
            fact="It has at most 64 letters, digits, dots, - and _, begins with a letter or digit, and is not a or b.",
            cure="Choose another name.",
        )
    version = _stranger(what, host.caller) if isinstance(what, str) else Version.of(what, host.caller)
    with deployment_lock(host.guest_lock_path(name), "start"), Interrupts(ends_soon(host.emit)) as interrupts:
        known = host.journal.guests().get(name)
        if known and host.inspect(as_slot(known)).process:
            host.emit(Notice(f"{name} runs already, in {known.directory} on port {known.port}."))
            return
        guest = GuestRecord(name, directory, port, version.start, None, version)
        require_free(host, as_slot(guest))
        try:
            _run(host, guest, interrupts)
        except Exception:
            if not host.inspect(
                as_slot(guest)
            ).process:  # one that could not be stopped stays known, to be stopped
                host.journal.dismiss_guest(name)
            raise


def resume_guest(host: Host, guest: GuestRecord) -> None:
    """Start a guest as it was started, where it does not run. One that fails is tried again by the next `up`."""
    with (
        deployment_lock(host.guest_lock_path(guest.name), "up"),
        Interrupts(ends_soon(host.emit)) as interrupts,
    ):
        if not host.inspect(as_slot(guest)).process:
            require_free(host, as_slot(guest))
            _run(host, guest, interrupts)


def pause_guest(host: Host, guest: GuestRecord) -> None:
    """Stop a guest until the next `up`; say so where it ran."""
    with deployment_lock(host.guest_lock_path(guest.name), "down"), Interrupts(ends_soon(host.emit)):
        ran = host.inspect(as_slot(guest)).process
        _end(host, guest)
        if ran:
            host.emit(Notice(f"{guest.name} stopped; `substitute up` brings it back."))


def stop_guest(host: Host, guest: GuestRecord) -> None:
    """Stop a guest and forget it."""
    with deployment_lock(host.guest_lock_path(guest.name), "stop"), Interrupts(ends_soon(host.emit)):
        _end(host, guest)
        host.journal.dismiss_guest(guest.name)


def log_of(host: Host, name: str) -> Path:
    """Where a guest writes, where its runtime keeps files."""
    return host.root / "deploy" / "run" / "log" / f"{name}.log"


def _run(host: Host, guest: GuestRecord, interrupts: Interrupts) -> None:
    """Start it and wait until its port accepts; stop it again where it does not. It is noted before it runs."""
    host.journal.host_guest(guest)
    file = log_of(host, guest.name)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = _program(host, guest, file)
    log = LogTail(host.runtime.log(program.name, program.log))
    try:
        with interrupts.allowed():
            process = host.runtime.start(program)
            host.journal.host_guest(replace(guest, process=process))
            emit = lambda line: host.emit(Output("start", line))  # noqa: E731
            with excerpt(emit, rest=f"see {as_slot(guest).logs}.") as show:
                await_ready(
                    host, _LISTENS, as_slot(guest), process, show=show, log=log, start=program.command
                )
    except Exception:
        _end(host, guest)
        raise
    host.emit(Notice(f"{guest.name} (pid {process.pid}) answers on port {guest.port}."))


def _end(host: Host, guest: GuestRecord) -> None:
    version = _version(host, guest)
    host.runtime.stop(guest.name, host.process_of(as_slot(guest)), timeout=version.stop_timeout)
    left = host.prober.marked(guest_origin(guest), {version.user}, host.root)
    end_all(host, guest.name, left, timeout=version.stop_timeout)
    host.journal.host_guest(replace(guest, process=None))


def _program(host: Host, guest: GuestRecord, log: Path) -> Program:
    version = _version(host, guest)
    secrets = host.secrets(version.env_file) if version.env_file else {}
    return Program(
        name=guest.name,
        command=version.start,
        directory=guest.directory,
        environment=guest_environment(guest, version, secrets),
        log=log,
        stop_timeout=version.stop_timeout,
        user=version.user,
        limits=version.limits,
        protections=version.protections,
        notifies=version.notifies,
    )


def _version(host: Host, guest: GuestRecord) -> Version:
    """What it was started with; an earlier version of substitute noted its command alone."""
    return guest.version or _stranger(guest.command, host.caller)


def _stranger(command: str, caller: Mapping[str, str]) -> Version:
    """Of what is no app."""
    return Version(
        start=command,
        health=_LISTENS,
        stop_timeout=30.0,
        user=None,
        notifies=False,
        limits=Limits(),
        protections=frozenset(Protection),
        env={},
        env_file=None,
        caller=caller,
    )


def as_slot(guest: GuestRecord) -> SlotRecord:
    """It as a slot, for what looks at slots."""
    return SlotRecord(
        app=guest.name,
        name=SlotName.A,
        directory=guest.directory,
        endpoints=(Endpoint("127.0.0.1", guest.port),),
        share=0,
        commit=None,
        intact=False,
        process=guest.process,
        standby=True,
        drain_timeout=0.0,
        stop_timeout=0.0,
        version=guest.version,
        instance_name=guest.name,
    )
