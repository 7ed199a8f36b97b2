"""A root is opened: found, read, and put together."""

from __future__ import annotations

import os
import pwd
import sys
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from substitute import config as configuration
from substitute.core.host import Host
from substitute.core.model.crons import SCHEDULER
from substitute.core.model.environment import absolute_places, caller_environment
from substitute.core.model.errors import SubstituteError
from substitute.core.model.events import Emit, Notice, Warned
from substitute.core.state.journal import Journal
from substitute.core.state.ownership import recognize
from substitute.io.clock import SystemClock
from substitute.io.files import private_directory, remove_unfinished
from substitute.linux.init_system import Machine
from substitute.linux.owner import become_owner, require_owner
from substitute.linux.processes import boot_id, is_alive
from substitute.probing.endpoints import Sockets
from substitute.probing.instances import LocalInstances
from substitute.runtimes.choice import KEEPER, choose
from substitute.values import replace
from substitute.wiring.adapters import (
    ENGINE_FACT,
    SOURCES,
    Later,
    adapter,
    balancer_of,
    edges_of,
    engine_of,
    instances_of,
    remember_cluster,
    runtime_of,
    with_engine,
)
from substitute.wiring.as_root import tell_of_root
from substitute.wiring.place import place_of
from substitute.wiring.settings import (
    apps_of,
    last_settings,
    remember_settings,
    remember_source,
    secrets_of,
)
from substitute.wiring.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from substitute.core.model.apps import App
    from substitute.core.model.programs import Process
    from substitute.core.model.secrets import SecretSource
    from substitute.core.ports.balancer import Balancer
    from substitute.core.ports.commands import Commands
    from substitute.core.ports.engine import Engine
    from substitute.core.ports.files import Files
    from substitute.core.ports.load import Load
    from substitute.core.ports.observer import Observer
    from substitute.core.ports.one_offs import OneOffs
    from substitute.core.ports.runtime import Runtime
    from substitute.core.ports.source import Source
    from substitute.core.ports.strangers import Strangers


def open_site(
    root_option: str | Path | None, emit: Emit, *, reading: bool = False, wait: float = 0.0
) -> Site:
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
    choice = choose(config.runtime.beside, machine, keeper=journal.fact(KEEPER), runs=_runs(journal))
    error, apps, former = apps_of(written, config, journal, choice.kind)
    if error and not journal.names():
        raise error  # recovering the journal from only some of the apps would lose the others

    def warn(text: str) -> None:
        emit(Warned(text))

    runtime = runtime_of(choice.kind, run, machine, journal, warn, names=_names(journal, apps.values()))
    remember_cluster(journal, config, root)
    runtime = with_engine(config.runtime.engine, runtime, choice.kind, root, journal)
    balancer = balancer_of(config, root, runtime, journal, warn)
    host = _host(
        root,
        journal,
        runtime,
        balancer,
        emit,
        engine=config.runtime.engine,
        builder=config.cluster.builder or "",
        caller=caller,
        wait=wait,
    )
    host = replace(host, edges=edges_of(config, root, journal))
    if not journal.names():
        from substitute.core.operate.journal_recovery import recover_journal  # noqa: PLC0415

        recover_journal(host, apps.values())
    choice = replace(choice, engine=config.runtime.engine)
    return Site(root, config, apps, host, choice, former, error, in_general=written.general is None)


def _host(
    root: Path,
    journal: Journal,
    runtime: Runtime,
    balancer: Balancer,
    emit: Emit,
    *,
    engine: str,
    builder: str,
    caller: Mapping[str, str],
    wait: float,
) -> Host:
    """All that a deployment works with; what few commands need is imported when it is first asked."""

    def warn(text: str) -> None:
        emit(Warned(text))

    def source(app: App) -> Source:
        tell_of_root(journal, app, warn)
        remember_source(journal, app)
        connect = adapter(SOURCES, app.source, f"app.{app.name}.source")
        found: Source = connect(
            app,
            dict(os.environ),
            lambda text: emit(Notice(text)),
            warn,
            places=lambda: journal.places(app.name),
            engine=engine_here,
        )
        return found

    def guardian(app: str) -> AbstractContextManager[Callable[[], None]]:
        from substitute.guardian.start import guarded  # noqa: PLC0415

        return guarded(root, app, runtime, journal)

    def dismiss(app: str) -> None:
        from substitute.guardian.start import end_sleeping  # noqa: PLC0415

        end_sleeping(root, app)

    @lru_cache(maxsize=1)
    def engine_here() -> Engine | None:
        name = engine or (journal.fact(ENGINE_FACT) or "").rpartition(" ")[2]
        return engine_of(name, root, journal, builder=builder) if name else None

    def secret(source: SecretSource, on_start: Callable[[Process], None]) -> str:
        from substitute.linux.secret_values import read_secret  # noqa: PLC0415

        return read_secret(source, on_start, root=root, environment=dict(os.environ))

    return Host(
        root=root,
        journal=journal,
        balancer=balancer,
        runtime=runtime,
        instances=instances_of(LocalInstances((root / "deploy").stat().st_uid), journal, root, runtime),
        prober=Sockets(),
        strangers=cast("Strangers", Later("substitute.probing.strangers:Listening")),
        observer=cast("Observer", Later("substitute.probing.observer:OutsideObserver")),
        commands=cast("Commands", Later("substitute.linux.subprocesses:Shell")),
        one_offs=cast("OneOffs", Later("substitute.linux.one_offs:Programs")),
        load=cast("Load", Later("substitute.drill.synthetic:Synthetic")),
        clock=SystemClock(),
        emit=emit,
        source=source,
        caller=caller,
        user=_typed_by(os.environ),
        guardian=guardian,
        dismiss=dismiss,
        secrets=lambda file: secrets_of(root / file, root),
        files=_files,
        secret=secret,
        environ=dict(os.environ),
        engine=engine_here,
        wait=wait,
        boot=boot_id,
    )


def _files(app: App) -> Files:
    from substitute.linux.slot_files import SlotFiles  # noqa: PLC0415  only where something is shared

    return SlotFiles(app)


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


def _names(journal: Journal, apps: Iterable[App]) -> set[str]:
    """What may run here, as a runtime calls it."""
    slots = [slot for name in journal.names() for slot in journal.app(name).slots.values()]
    started = {one.name for slot in slots for one in slot.started}
    expected = {app.full_name(slot) for app in apps for slot in app.slots}
    return started | expected | journal.guests().keys() | {SCHEDULER}


def _runs(journal: Journal) -> bool:
    """Whether an instance that the journal knows is there, whoever keeps it."""
    slots = [slot for name in journal.names() for slot in journal.app(name).slots.values()]
    instances = [one for slot in slots for one in slot.started]
    known = [*(one.process for one in instances), *(guest.process for guest in journal.guests().values())]
    return any(process and is_alive(process) for process in known)


def _prepare(root: Path) -> Path:
    try:
        private_directory(root / "deploy", through=True)
        run = private_directory(root / "deploy" / "run")
    except OSError as error:
        raise SubstituteError(
            f"{root / 'deploy'} cannot be used.",
            fact=error.strerror or str(error),
            cure="substitute keeps its state there: give this user write access.",
        ) from error
    remove_unfinished(run)
    return run
