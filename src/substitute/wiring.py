"""Puts a root together: its configuration, its journal, and the adapters that it names."""

from __future__ import annotations

import difflib
import json
import os
import pwd
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from substitute import boot, guardian
from substitute import config as configuration
from substitute.balancers.handover import Handover
from substitute.boot.command import command_for
from substitute.clock import SystemClock
from substitute.config.envfile import EnvFileError, read_env_file
from substitute.core.environment import absolute_places, caller_environment
from substitute.core.errors import ConfigError, JournalError, RuntimeFailedError, SubstituteError, UsageError
from substitute.core.events import Notice, Warned
from substitute.core.host import Host
from substitute.core.journal import Journal
from substitute.core.ownership import former_place, recognize
from substitute.core.ports import Limits
from substitute.core.recollection import recollect
from substitute.core.remembered import is_in_use, remembered
from substitute.core.status import observe, out_of_service
from substitute.files import private_directory, remove_unfinished
from substitute.machine import Machine
from substitute.owner import become_owner, owner_of, require_owner
from substitute.place import place_of
from substitute.probes import Sockets
from substitute.processes import is_alive
from substitute.runtimes.choice import KEEPER, choose
from substitute.runtimes.succession import Succession
from substitute.shell import Shell
from substitute.strangers import Listening
from substitute.witness import Bystander

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from substitute.balancers.handover import Leaving
    from substitute.boot.command import Command
    from substitute.config import Config, Reading
    from substitute.core.apps import App
    from substitute.core.events import Emit
    from substitute.core.ports import Balancer, Runtime, Source
    from substitute.runtimes.choice import Choice

BALANCERS = {
    "haproxy": "substitute.balancers.haproxy:connect",
    "passive": "substitute.balancers.passive:connect",
    "traefik": "substitute.balancers.traefik:connect",
    "nginx": "substitute.balancers.nginx:connect",
}
RUNTIMES = {
    "supervisord": "substitute.runtimes.supervisord:connect",
    "systemd": "substitute.runtimes.systemd:connect",
}
_GUARDIANS = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TZ",
    "XDG_RUNTIME_DIR",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
)
"""What a guardian gets of the environment; it settles by what the journal remembers."""
AS_ROOT = (
    "The build, the hooks and the app of {app} run as root. "
    'Set app.{app}.user to another user, or to "root" if that is what you want.'
)
_TOLD_OF_ROOT = "told of root"
"""The fact that says of which apps this was told."""
_IN_USE = "balancers"
"""The fact that says which kinds of balancer may lead requests to the root's apps, and how each is set up."""
_SETTINGS = "settings"
"""The fact that keeps [balancer] and [runtime] as they were last read without an error."""
SOURCES = {"git": "substitute.sources.git:connect"}


@dataclass(frozen=True)
class BootSite:
    """A root, as seen by what brings it back after a reboot."""

    root: Path
    user: str
    """Whose the root's state is."""
    error: ConfigError | None = None
    """What is wrong with substitute.toml, where that is known."""

    def starter(self, *, installing: bool = False) -> boot.Starter:
        """What brings this root back after a reboot. UsageError where nothing can, or where substitute.toml is wrong.

        A line of cron's runs as whose crontab it is in, so nobody else can install it.
        """
        if installing and self.error:
            raise self.error
        found = boot.starter(self.root, Machine.this())
        if installing and found.kind == "cron":
            require_owner(self.root, sys.argv[1:])
        return found

    def command(self) -> Command:
        """What is run then."""
        return command_for(self.root, self.user)


@dataclass(frozen=True)
class Site:
    """A root that commands work on."""

    root: Path
    config: Config
    apps: dict[str, App]
    """Those of substitute.toml, and in the place of sections that cannot be used what the journal knows."""
    host: Host
    runtime: Choice
    former: dict[str, App] = field(default_factory=dict)
    """Those that the journal knows and substitute.toml names no longer."""
    error: ConfigError | None = None
    """What is wrong with substitute.toml, or None."""
    in_general: bool = False
    """Whether that concerns all apps."""

    def app(self, name: str | None = None) -> App:
        """The app called `name`, or the only one, as substitute.toml has it.

        Raises UsageError where that is not clear, and the ConfigError that concerns it.
        """
        found = self._find(name)
        if found.removed:
            raise self._unknown(found.name)
        if self.error and (self.in_general or found.remembered or found.env_file_problem):
            raise self.error
        self._warn(f"That does not concern {found.name}.")
        return found

    def known(self, name: str | None = None) -> App:
        """The app called `name`, or the only one, for what can be done by the journal alone. Raises UsageError."""
        found = self._find(name)
        self._warn(self._instead())
        return found

    def chosen(self, name: str | None = None) -> list[App]:
        """The app called `name`, or all of them, for what can be done by the journal alone."""
        if name:
            return [self.known(name)]
        return list(self.all_known().values())

    def all_known(self) -> dict[str, App]:
        """All that may run here, by name: also those that are no longer in substitute.toml."""
        self._warn(self._instead())
        journal = self.host.journal
        return self.apps | {name: app for name, app in self.former.items() if is_in_use(journal.app(name))}

    def _find(self, name: str | None) -> App:
        every = self.apps | self.former
        names = list(self.apps or every)
        if name is None and len(names) == 1:
            return every[names[0]]
        if name is None:
            named = " or ".join(f"`-a {one}`" for one in names)
            raise UsageError("Several apps are in this root.", cure=f"Name one of them: {named}.")
        if name not in every:
            raise self.error or self._unknown(name)
        return every[name]

    def _unknown(self, name: str) -> UsageError:
        near = difflib.get_close_matches(name, self.apps, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There is {', '.join(self.apps)}."
        return UsageError(f"No app is called {name!r} in {self.root}/substitute.toml.", cure=hint)

    def _warn(self, consequence: str) -> None:
        if self.error:
            self.host.emit(Warned(f"{self.error.reason}\n{consequence}".rstrip()))

    def _instead(self) -> str:
        """What is done in spite of the error."""
        told = []
        if names := [app.name for app in self.apps.values() if app.remembered]:
            told.append(f"In its place, what the journal knows of {' and '.join(names)} is used.")
        if names := [app.name for app in self.apps.values() if app.env_file_problem and not app.remembered]:
            told.append(f"Until that is corrected, {' and '.join(names)} cannot be started.")
        if self.in_general:
            told.append("[balancer] and [runtime] are used as they were last read.")
        return " ".join([*told, "Correct the file; `substitute config` lists what is wrong."])

    def status(self, name: str | None = None, *, check: bool = False) -> dict[str, Any]:
        """The ``status --json`` document; with `check` it names the apps that should serve and do not."""
        chosen = self.chosen(name)
        seen = observe(self.host, chosen)
        checked = {"out_of_service": out_of_service(self.host, chosen)} if check else {}
        balancer = self.config.balancer
        configured = balancer.listen if balancer.kind == "haproxy" else None
        fronts = list(self.host.balancer.fronts())
        place: dict[str, Any] = {"listen": fronts[0] if fronts and configured not in fronts else configured}
        if fronts:
            place |= {"listens": fronts, "configured": configured}
        return {
            "configuration": {
                "problems": list(self.error.problems or (self.error.what,)) if self.error else []
            },
            "apps": seen["apps"],
            "guests": seen["guests"],
            "balancer": {"kind": balancer.kind, **place, **seen["balancer"]},
            "runtime": {"kind": self.runtime.kind, "advice": self.runtime.advice},
            "boot": self._boot(),
            "as_root": [app.name for app in chosen if _runs_as_root(app)],
            **checked,
        }

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        """As the runtime does, and across a change of the runtime while it is followed."""
        runtime = self.host.runtime
        if not isinstance(runtime, Succession):
            for other in _other_runtimes(self.runtime.kind, Machine.this()):
                made = _adapter(RUNTIMES, other, "")(self.root / "deploy" / "run", lambda _: None)
                runtime = Succession(runtime, made)
        runtime.follow(logs, on_line)

    def rest(self) -> None:
        """Have nothing bring the root back before the next boot but who types it."""
        try:
            boot.starter(self.root, Machine.this()).rest()
        except UsageError:  # there is nothing that would
            return
        except SubstituteError as error:
            self.host.emit(Warned(f"What starts everything at boot may undo this. {error.reason}"))

    def _boot(self) -> dict[str, Any]:
        try:
            starter = boot.starter(self.root, Machine.this())
            where = starter.where()
        except SubstituteError:
            where = None
        return {"kind": starter.kind, "where": where} if where else {"kind": None, "where": None}


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
    config = written.config(_last_settings(journal))
    if written.general is not None:
        _remember_settings(journal, config)
    machine = Machine.this()
    choice = choose(config.runtime.kind, machine, keeper=journal.fact(KEEPER), runs=_runs(journal))
    error, apps, former = _apps(written, config, journal, choice.kind)
    if error and not journal.names():  # a part of the apps is not what is to be recollected
        raise error

    def warn(text: str) -> None:
        emit(Warned(text))

    names = {app.instance(name) for app in apps.values() for name in app.slots} | journal.guests().keys()
    runtime = _runtime(choice.kind, run, machine, journal, warn, names=names)
    balancer = _balancer(config, root, runtime, journal, warn)

    def source(app: App) -> Source:
        _tell_of_root(journal, app, warn)
        found: Source = _adapter(SOURCES, "git", "")(
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
        witness=Bystander(),
        commands=Shell(),
        clock=SystemClock(),
        emit=emit,
        source=source,
        caller=caller,
        user=_typed_by(os.environ),
        guardian=lambda app: _guarded(root, app, runtime),
        secrets=lambda file: _secrets(root / file, root),
    )
    recollect(host, apps.values())
    return Site(root, config, apps, host, choice, former, error, in_general=written.general is None)


def _typed_by(environ: Mapping[str, str]) -> str:
    """Who typed this, by what his login and sudo say."""
    named = next((environ[name] for name in ("SUDO_USER", "USER", "LOGNAME") if environ.get(name)), "")
    with suppress(KeyError):
        return named or pwd.getpwuid(os.getuid()).pw_name
    return f"uid {os.getuid()}"


def _tell_of_root(journal: Journal, app: App, warn: Callable[[str], None]) -> None:
    """Say once that what an app's repository holds runs as root; `status` says it from then on."""
    told = set(json.loads(journal.fact(_TOLD_OF_ROOT) or "[]"))
    known = told | {app.name} if _runs_as_root(app) else told - {app.name}
    if known - told:
        warn(f"{AS_ROOT.format(app=app.name)} This is said once; `substitute status` shows it.")
    if known != told:
        journal.remember(_TOLD_OF_ROOT, json.dumps(sorted(known)))


def _runs_as_root(app: App) -> bool:
    """Whether nobody has said whom its code runs as, and that is root."""
    return app.user is None and os.geteuid() == 0


def find_root(root_option: str | Path | None) -> Path:
    """The root that is meant. Raises ConfigError."""
    directory = None if root_option is None else str(root_option)
    return configuration.find_root(directory=directory, environ=os.environ)


def open_boot(root_option: str | Path | None, emit: Emit) -> BootSite:
    """What is needed to have a root come back after a reboot. Root may do so for another user's root as well.

    Raises ConfigError and SubstituteError.
    """
    root = find_root(root_option)
    owner = owner_of(root)
    if not owner.is_another or os.geteuid():
        # What cannot be opened now can't be at boot.
        return BootSite(root, owner.name.removeprefix("#"), open_site(root, emit).error)
    return BootSite(root, owner.name.removeprefix("#"))


def _runs(journal: Journal) -> bool:
    """Whether an instance that the journal knows is there, whoever keeps it."""
    slots = [slot for name in journal.names() for slot in journal.app(name).slots.values()]
    known = [*(slot.process for slot in slots), *(guest.process for guest in journal.guests().values())]
    return any(process and is_alive(process) for process in known)


def _runtime(
    kind: str,
    run: Path,
    machine: Machine,
    journal: Journal,
    warn: Callable[[str], None],
    *,
    names: Iterable[str],
) -> Runtime:
    """The runtime of `kind`; while another one still keeps something of the root, both.

    Also where another one left an instance of `names` running when it died, and the units that systemd calls after
    the place where the root was before it was moved.
    """
    found: Runtime = _adapter(RUNTIMES, kind, "runtime.kind")(run, warn)
    keepers = [kind]
    others = [(other, run) for other in _other_runtimes(kind, machine)]
    if machine.manager and (former := former_place(journal)):
        others.append(("systemd", former / "deploy" / "run"))
    for other, place in others:
        earlier: Runtime = _adapter(RUNTIMES, other, "")(place, warn)
        if _keeps_something(earlier) or any(map(earlier.trace, names)):
            found = Succession(found, earlier)
            keepers.append(other)
    keeper = "systemd" if "systemd" in keepers else "supervisord"
    if keeper != (journal.fact(KEEPER) or "supervisord"):
        journal.remember(KEEPER, keeper)
    return found


def _balancer(
    config: Config, root: Path, runtime: Runtime, journal: Journal, warn: Callable[[str], None]
) -> Balancer:
    """That of the configuration, and those that were used before it and may still lead requests here.

    The journal keeps how each was set up: the configuration speaks of one.
    """
    settings = config.balancer
    now, fact = settings.model_dump(mode="json"), journal.fact(_IN_USE)
    # An earlier version of substitute noted none. For all that is known, whatever it used had what is configured now.
    known: dict[str, Any] = (
        json.loads(fact) if fact else {kind: {**now, "binary": None, "file": None} for kind in BALANCERS}
    )
    all_settings = {**known, settings.kind: now}

    def made(kind: str, settings: object) -> Leaving:
        found: Leaving = _adapter(BALANCERS, kind, "balancer.kind")(root, runtime, settings, warn)
        return found

    return Handover(
        settings.kind,
        made(settings.kind, settings),
        {
            kind: made(kind, SimpleNamespace(**there))
            for kind, there in known.items()
            if kind != settings.kind and kind in BALANCERS
        },
        lambda kinds: journal.remember(_IN_USE, json.dumps({kind: all_settings[kind] for kind in kinds})),
        certain=fact is not None,
    )


def _other_runtimes(kind: str, machine: Machine) -> list[str]:
    """Those that can be here beside one of `kind`."""
    return [other for other in RUNTIMES if other != kind and (other != "systemd" or machine.manager)]


def _keeps_something(runtime: Runtime) -> bool:
    """Whether it keeps something of the root, or does not tell."""
    try:
        return bool(runtime.kept())
    except RuntimeFailedError:
        return True


def _apps(
    reading: Reading, config: Config, journal: Journal, runtime_kind: str
) -> tuple[ConfigError | None, dict[str, App], dict[str, App]]:
    """What is wrong with the configuration, the apps, and those that are no longer in it."""
    error, apps = reading.error, configuration.apps(config, reading.root)
    for app in list(apps.values()):
        if impossible := _impossible(runtime_kind, app):
            error = error or impossible
            del apps[app.name]
    others = [name for name in journal.names() if name not in apps]
    # Of a file that cannot be read it is not known which apps it names.
    named = reading.names or {name for name in others if is_in_use(journal.app(name))}
    apps |= {name: remembered(journal, reading.root, name) for name in others if name in named}
    former = {
        name: remembered(journal, reading.root, name, removed=True) for name in others if name not in named
    }
    if error and not apps:
        raise error
    return error, apps, former


def _impossible(runtime_kind: str, app: App) -> ConfigError | None:
    """The error where an app wants what its runtime can't do: it is not left undone."""
    wanted = {"notify": app.notifies, "limits": app.limits != Limits()}
    for key, value in wanted.items():
        if value and runtime_kind != "systemd":
            return ConfigError(
                f"{runtime_kind} has no use for app.{app.name}.{key}.",
                cure='Remove it, or set runtime.kind = "systemd".',
            )
    return None


def _remember_settings(journal: Journal, config: Config) -> None:
    """Have the journal know [balancer] and [runtime], for a time when they cannot be read."""
    found = {"balancer": config.balancer, "runtime": config.runtime}
    with suppress(JournalError):  # nothing hangs on it now
        journal.remember(
            _SETTINGS, json.dumps({name: table.model_dump(mode="json") for name, table in found.items()})
        )


def _last_settings(journal: Journal) -> dict[str, Any] | None:
    """What was remembered; an earlier version of substitute noted the balancers in use alone, the present one first."""
    if known := journal.fact(_SETTINGS):
        return dict(json.loads(known))
    in_use = json.loads(journal.fact(_IN_USE) or "{}")
    return {"balancer": next(iter(in_use.values()))} if in_use else None


def _secrets(file: Path, root: Path) -> dict[str, str]:
    try:
        return read_env_file(file, root)
    except EnvFileError as error:
        raise ConfigError(
            f"{file} cannot be used.", problems=tuple(text for _, text in error.problems)
        ) from None


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


def _adapter(table: dict[str, str], kind: str, key: str) -> Any:
    if kind not in table:
        raise ConfigError(
            f"{key} = {kind!r} is not available in this version.",
            cure=f"Choose {' or '.join(repr(known) for known in table)} in substitute.toml.",
        )
    module, _, name = table[kind].partition(":")
    return getattr(import_module(module), name)


@contextmanager
def _guarded(root: Path, app: str, runtime: Runtime) -> Iterator[Callable[[], None]]:
    """Have a small process settle `app` if this one dies inside; end it unused otherwise.

    It blocks on the lock that the deployer holds, so it must be gone before that is released; not where it is to go on
    with what is left, which calling what is given says.
    """
    run = root / "deploy" / "run"
    end = runtime.spawn(
        f"{app}_guardian",
        [
            *(sys.executable, "-I", "-S", guardian.__file__, str(run / f"{app}.lock")),
            *(sys.executable, "-P", "-m", "substitute.recovery", str(root), app),
        ],
        directory=root,
        environment=_guardians_environment(),
        log=run / "guardian.log",
    )
    ends = [end]
    try:
        yield ends.clear
    finally:
        for each in ends:
            each()


def _guardians_environment() -> dict[str, str]:
    found = {name: os.environ[name] for name in _GUARDIANS if name in os.environ}
    if "PYTHONPATH" in found:  # a relative place would be one in the root, where the guardian works
        places = found["PYTHONPATH"].split(os.pathsep)
        found["PYTHONPATH"] = os.pathsep.join(place for place in places if place.startswith("/"))
    return found
