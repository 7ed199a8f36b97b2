"""A root that commands work on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.core.model.errors import ConfigError, SubstituteError, UsageError
from substitute.core.model.events import Warned
from substitute.core.state.remembered import is_in_use
from substitute.linux.init_system import Machine
from substitute.values import dataclass, field
from substitute.wiring.adapters import RUNTIMES, adapter, other_runtimes
from substitute.wiring.as_root import runs_as_root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from substitute.config import Config
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import RunRecord
    from substitute.runtimes.choice import Choice

IS_HOST = "is one of many hosts"
"""The fact that this root has been driven from elsewhere."""


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

    @property
    def keeps_connections(self) -> bool:
        """Whether the balancer keeps connections to the apps, as far as is known."""
        balancer = self.config.balancer
        return balancer.kind == "haproxy" and balancer.keep_connections

    def app(self, name: str | None = None) -> App:
        """The app called `name`, or the only one, as substitute.toml has it.

        Raises UsageError where that is not clear, and the ConfigError that concerns it.
        """
        found = self._find(name)
        if found.removed:
            raise self._unknown(found.name)
        if self.error and (self.in_general or found.remembered or found.secrets.problem):
            raise self.error
        self._warn(f"That does not concern {found.name}.")
        return found

    def deployed(self, name: str | None = None) -> list[App]:
        """The app called `name`, or all of substitute.toml. Raises as `app` does.

        UsageError where substitute.toml names hosts, and this is none of them: the first deployment of all would be one
        that was meant for them.
        """
        journal = self.host.journal
        if self.config.hosts.groups and not journal.names() and not journal.fact(IS_HOST):
            raise UsageError(
                "substitute.toml names hosts, and nothing was ever deployed on this machine.",
                cure="`--hosts all` deploys on them. If this is one of them, `substitute hosts setup` makes it one.",
            )
        several = name is None and len(self.apps) > 1
        return [self.app(one) for one in self.apps] if several else [self.app(name)]

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
        import difflib  # noqa: PLC0415  only this error needs it

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
        if names := [app.name for app in self.apps.values() if app.secrets.problem and not app.remembered]:
            told.append(f"Until that is corrected, {' and '.join(names)} cannot be started.")
        if self.in_general:
            told.append("[balancer] and [runtime] are used as they were last read.")
        return " ".join([*told, "Correct the file; `substitute config` lists what is wrong."])

    def status(self, name: str | None = None, *, check: bool = False) -> dict[str, Any]:
        """The ``status --json`` document; with `check` it names the apps that should serve and do not."""
        from substitute.core.operate.status import observe, out_of_service  # noqa: PLC0415  # few commands ask

        chosen = self.chosen(name)
        seen = observe(self.host, chosen)
        checked = {"out_of_service": out_of_service(self.host, chosen)} if check else {}
        balancer = self.config.balancer
        configured = balancer.listen if balancer.kind == "haproxy" else None
        fronts = list(self.host.balancer.fronts())
        place: dict[str, Any] = {"listen": fronts[0] if fronts and configured not in fronts else configured}
        if fronts:
            place |= {"listens": fronts, "configured": configured}
        engine = {"engine": self.runtime.engine} if self.runtime.engine else {}
        return {
            "configuration": {
                "problems": list(self.error.problems or (self.error.what,)) if self.error else []
            },
            "apps": seen["apps"],
            "guests": seen["guests"],
            "balancer": {"kind": balancer.kind, **place, **seen["balancer"]},
            "runtime": {"kind": self.runtime.kind, "advice": self.runtime.advice, **engine},
            "boot": self._boot(),
            "as_root": [app.name for app in chosen if runs_as_root(app)],
            **checked,
        }

    def follow(self, logs: Mapping[str, tuple[Path, int]], on_line: Callable[[str, str], None]) -> None:
        """As the runtime does, and across a change of the runtime while it is followed."""
        from substitute.runtimes.handover import RuntimeHandover  # noqa: PLC0415  # `logs` alone

        runtime = self.host.runtime
        if not isinstance(runtime, RuntimeHandover):
            for other in other_runtimes(self.runtime.kind, Machine.this()):
                made = adapter(RUNTIMES, other, "")(self.root / "deploy" / "run", lambda _: None)
                runtime = RuntimeHandover(runtime, made)
        runtime.follow(logs, on_line)

    def keep(self, run: RunRecord, stop_timeout: float, log: Path) -> None:
        """Have a process that outlives this one carry on with `run`."""
        from substitute.guardian.start import keep  # noqa: PLC0415

        keep(self.root, self.host.runtime, run, stop_timeout, log)

    def rest(self) -> None:
        """Have nothing bring the root back before the next boot but who types it."""
        from substitute import autostart as boot  # noqa: PLC0415  # `down` alone

        try:
            boot.starter(self.root, Machine.this()).rest()
        except UsageError:  # there is nothing that would
            return
        except SubstituteError as error:
            self.host.emit(Warned(f"What starts everything at boot may undo this. {error.reason}"))

    def close(self) -> None:
        """Leave the journal in one file."""
        self.host.journal.close()

    def _boot(self) -> dict[str, Any]:
        from substitute import autostart as boot  # noqa: PLC0415  # `status` alone

        try:
            starter = boot.starter(self.root, Machine.this())
            where = starter.where()
        except SubstituteError:
            where = None
        return {"kind": starter.kind, "where": where} if where else {"kind": None, "where": None}
