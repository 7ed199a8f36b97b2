"""A root is opened: found, read, and put together."""

from __future__ import annotations

import os
import pwd
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute import config as configuration
from substitute.core.host import Host
from substitute.core.model.environment import absolute_places, caller_environment
from substitute.core.model.errors import SubstituteError
from substitute.core.model.events import Emit, Notice, Warned
from substitute.core.operate.journal_recovery import recover_journal
from substitute.core.state.journal import Journal
from substitute.core.state.ownership import recognize
from substitute.guardian.start import guarded
from substitute.io.clock import SystemClock
from substitute.io.files import private_directory, remove_unfinished
from substitute.linux.init_system import Machine
from substitute.linux.owner import become_owner, require_owner
from substitute.linux.processes import is_alive
from substitute.linux.subprocesses import Shell
from substitute.probing.endpoints import Sockets
from substitute.probing.observer import OutsideObserver
from substitute.probing.strangers import Listening
from substitute.runtimes.choice import KEEPER, choose
from substitute.wiring.adapters import SOURCES, adapter, balancer_of, runtime_of
from substitute.wiring.as_root import tell_of_root
from substitute.wiring.place import place_of
from substitute.wiring.settings import apps_of, last_settings, remember_settings, secrets_of
from substitute.wiring.site import Site

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.core.model.apps import App
    from substitute.core.ports.source import Source


def open_site(root_option: str | Path | None, emit: Emit, *, reading: bool = False) -> Site:
    """Find the root, read its configuration, open its journal. Raises ConfigError and SubstituteError.

    It must be this user's; root may read another's, and is that user from then on.
    """
    root = find_root(root_option)
    if reading:
        become_owner(root)
    require_owner(root, sys.argv[1:])
    caller = caller_environment(os.environ)
    # Builds and instances get PATH as it was given. What runs here is found where the repository has no say.
    os.environ["PATH"] = absolute_places(caller["PATH"])
    written = configuration.read(root)
    if written.error and not (root / "deploy" / "journal.db").exists():
        raise written.error
    run = _prepare(root)
    journal = Journal(root / "deploy" / "journal.db")
    recognize(journal, place_of(root), emit)  # before anything else believes it
    config = written.config(last_settings(journal))
    if written.general is not None:
        remember_settings(journal, config)
    machine = Machine.this()
    choice = choose(config.runtime.kind, machine, keeper=journal.fact(KEEPER), runs=_runs(journal))
    error, apps, former = apps_of(written, config, journal, choice.kind)
    if error and not journal.names():  # a part of the apps is not what is to be recollected
        raise error

    def warn(text: str) -> None:
        emit(Warned(text))

    names = {app.instance(name) for app in apps.values() for name in app.slots} | journal.guests().keys()
    runtime = runtime_of(choice.kind, run, machine, journal, warn, names=names)
    balancer = balancer_of(config, root, runtime, journal, warn)

    def source(app: App) -> Source:
        tell_of_root(journal, app, warn)
        found: Source = adapter(SOURCES, "git", "")(
            app, dict(os.environ), lambda text: emit(Notice(text)), warn
        )
        return found

    host = Host(
        root=root,
        journal=journal,
        balancer=balancer,
        runtime=runtime,
        prober=Sockets((root / "deploy").stat().st_uid),
        strangers=Listening(),
        observer=OutsideObserver(),
        commands=Shell(),
        clock=SystemClock(),
        emit=emit,
        source=source,
        caller=caller,
        user=_typed_by(os.environ),
        guardian=lambda app: guarded(root, app, runtime),
        secrets=lambda file: secrets_of(root / file, root),
    )
    recover_journal(host, apps.values())
    return Site(root, config, apps, host, choice, former, error, in_general=written.general is None)


def _typed_by(environ: Mapping[str, str]) -> str:
    """Who typed this, by what his login and sudo say."""
    named = next((environ[name] for name in ("SUDO_USER", "USER", "LOGNAME") if environ.get(name)), "")
    with suppress(KeyError):
        return named or pwd.getpwuid(os.getuid()).pw_name
    return f"uid {os.getuid()}"


def find_root(root_option: str | Path | None) -> Path:
    """The root that is meant. Raises ConfigError."""
    directory = None if root_option is None else str(root_option)
    return configuration.find_root(directory=directory, environ=os.environ)


def _runs(journal: Journal) -> bool:
    """Whether an instance that the journal knows is there, whoever keeps it."""
    slots = [slot for name in journal.names() for slot in journal.app(name).slots.values()]
    known = [*(slot.process for slot in slots), *(guest.process for guest in journal.guests().values())]
    return any(process and is_alive(process) for process in known)


def _prepare(root: Path) -> Path:
    try:
        private_directory(root / "deploy")
        run = private_directory(root / "deploy" / "run")
    except OSError as error:
        raise SubstituteError(
            f"{root / 'deploy'} cannot be used.",
            fact=error.strerror or str(error),
            cure="substitute keeps its state there: give this user write access.",
        ) from error
    remove_unfinished(run)
    return run
