"""Guests: processes that `start` runs under names which are no slots, beside the apps and without their traffic.

They come back with `up` as they were started, after a reboot and after `down`; only `stop` forgets them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.core.deploy.readiness.readiness import await_ready, require_free
from substitute.core.deploy.readiness.started import LogTail, Started
from substitute.core.deploy.running.instances import end_all
from substitute.core.deploy.secrets import ask, keep, known
from substitute.core.excerpt import excerpt
from substitute.core.interrupts import Interrupts, ends_soon
from substitute.core.model.crons import SCHEDULER
from substitute.core.model.environment import guest_environment, guest_origin
from substitute.core.model.errors import UsageError
from substitute.core.model.events import Notice, Output
from substitute.core.model.health import Health
from substitute.core.model.instances import WEB, InstanceRecord
from substitute.core.model.programs import Limits, Program, Protection
from substitute.core.model.records import GuestRecord
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.model.versions import Version
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.core.host import Host
    from substitute.core.model.apps import App

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LISTENS = Health("tcp", "/", None, timeout=30.0, interval=0.05, successes=1)


def start_guest(host: Host, name: str, directory: Path, port: int, what: App | str) -> None:
    """Start `name` in `directory`, and return when `port` accepts: as the app `what`, or the command."""
    ours = name in {"haproxy", SCHEDULER} or name.endswith("_guardian") or re.fullmatch(r"run-\d+", name)
    if ours:
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
    with host.lock(host.guest_lock_path(name), "start"), Interrupts(ends_soon(host.emit)) as interrupts:
        known = host.journal.guests().get(name)
        if known and host.inspect(as_instance(known)).process:
            host.emit(Notice(f"{name} runs already, in {known.directory} on port {known.port}."))
            return
        guest = GuestRecord(name, directory, port, version.start, None, version)
        require_free(host, None, [as_instance(guest)])
        keep(host, name, version.secrets_from, ask(host, name, version.secrets_from))
        try:
            _run(host, guest, interrupts)
        except Exception:
            if not host.inspect(
                as_instance(guest)
            ).process:  # one that could not be stopped stays known, to be stopped
                host.journal.dismiss_guest(name)
            raise


def resume_guest(host: Host, guest: GuestRecord) -> None:
    """Start a guest as it was started, where it does not run. One that fails is tried again by the next `up`."""
    with (
        host.lock(host.guest_lock_path(guest.name), "up"),
        Interrupts(ends_soon(host.emit)) as interrupts,
    ):
        if not host.inspect(as_instance(guest)).process:
            require_free(host, None, [as_instance(guest)])
            _run(host, guest, interrupts)


def pause_guest(host: Host, guest: GuestRecord) -> None:
    """Stop a guest until the next `up`; say so where it ran."""
    with host.lock(host.guest_lock_path(guest.name), "down"), Interrupts(ends_soon(host.emit)):
        ran = host.inspect(as_instance(guest)).process
        _end(host, guest)
        if ran:
            host.emit(Notice(f"{guest.name} stopped; `substitute up` brings it back."))


def stop_guest(host: Host, guest: GuestRecord) -> None:
    """Stop a guest and forget it."""
    with host.lock(host.guest_lock_path(guest.name), "stop"), Interrupts(ends_soon(host.emit)):
        _end(host, guest)
        host.journal.dismiss_guest(guest.name)
        host.kept_secrets(guest.name).unlink(missing_ok=True)


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
            with excerpt(emit, rest=f"see {as_instance(guest).logs}.") as show:
                await_ready(
                    host,
                    None,
                    [Started(as_instance(guest), process, log, program, _LISTENS)],
                    show=show,
                )
    except Exception:
        _end(host, guest)
        raise
    host.emit(Notice(f"{guest.name} (pid {process.pid}) answers on port {guest.port}."))


def _end(host: Host, guest: GuestRecord) -> None:
    version = _version(host, guest)
    process, signal = host.process_of(as_instance(guest)), version.stop_signal
    host.runtime.stop(guest.name, process, timeout=version.stop_timeout, signal=signal)
    left = host.instances.marked(guest_origin(guest), {version.user}, host.root)
    end_all(host, guest.name, left, timeout=version.stop_timeout)
    host.journal.host_guest(replace(guest, process=None))


def _program(host: Host, guest: GuestRecord, log: Path) -> Program:
    version = _version(host, guest)
    secrets = host.secrets(version.env_file) if version.env_file else {}
    sources = version.secrets_from
    secrets = {**secrets, **(known(host, guest.name, sources) or ask(host, guest.name, sources))}
    return Program(
        name=guest.name,
        command=version.start,
        directory=guest.directory,
        environment=guest_environment(guest, version, secrets),
        log=log,
        stop_timeout=version.stop_timeout,
        stop_signal=version.stop_signal,
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
        processes={},
        caller=caller,
    )


def as_instance(guest: GuestRecord) -> InstanceRecord:
    """It as an instance, for what looks at instances."""
    return InstanceRecord(
        app=guest.name,
        slot=SlotName.A,
        directory=guest.directory,
        process_type=WEB,
        number=1,
        name=guest.name,
        endpoints=(Endpoint("127.0.0.1", guest.port),),
        process=guest.process,
        is_guest=True,
    )
