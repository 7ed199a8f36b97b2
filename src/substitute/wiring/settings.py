"""What substitute.toml says, and what the journal knows in its place."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from substitute import config as configuration
from substitute.config.envfile import EnvFileError, read_env_file
from substitute.core.model.errors import ConfigError, JournalError
from substitute.core.model.programs import Limits
from substitute.core.state.remembered import is_in_use, remembered, source_fact
from substitute.wiring.adapters import IN_USE

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.config import Config, Reading
    from substitute.core.model.apps import App
    from substitute.core.state.journal import Journal

_SETTINGS = "settings"
"""The fact that keeps [balancer] and [runtime] as they were last read without an error."""


def apps_of(
    reading: Reading, config: Config, journal: Journal, runtime_kind: str
) -> tuple[ConfigError | None, dict[str, App], dict[str, App]]:
    """What is wrong with the configuration, the apps, and those that are no longer in it."""
    error, apps = reading.error, configuration.apps(config, reading.root)
    for app in list(apps.values()):
        impossible = _unfit_for_runtime(runtime_kind, app) or _unfit_for_balancer(config.balancer.kind, app)
        if impossible:
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


def _unfit_for_runtime(runtime_kind: str, app: App) -> ConfigError | None:
    """The error where an app wants what its runtime can't do: it is not left undone."""
    wanted = {
        "notify": app.notifies,
        "standby.freeze": app.standby.frozen and app.image.engine != "docker",
        "limits": app.limits != Limits() and not app.image.engine,
        "build_limits.memory": app.build.limits.memory is not None,
        "build_limits.cpu": app.build.limits.cpu is not None,
    }
    for key, value in wanted.items():
        if value and runtime_kind != "systemd":
            return ConfigError(
                f"{runtime_kind} has no use for app.{app.name}.{key}.",
                cure='Remove it, or set runtime.kind = "systemd".',
            )
    return None


def _unfit_for_balancer(balancer_kind: str, app: App) -> ConfigError | None:
    """The error where an app wants what its balancer can't do."""
    if not app.assets or balancer_kind == "haproxy":
        return None
    return ConfigError(
        f"{balancer_kind} has no use for app.{app.name}.assets.",
        cure='Remove it, or set balancer.kind = "haproxy".',
    )


def remember_settings(journal: Journal, config: Config) -> None:
    """Have the journal know [balancer] and [runtime], for a time when they cannot be read."""
    found = {"balancer": config.balancer, "runtime": config.runtime}
    with suppress(JournalError):  # nothing hangs on it now
        journal.remember(_SETTINGS, json.dumps({name: vars(table) for name, table in found.items()}))


def remember_source(journal: Journal, app: App) -> None:
    """Have the journal know what versions of `app` come from; of an app that is not in it, that is git."""
    fact = source_fact(app.name)
    if not app.remembered and app.source != (journal.fact(fact) or "git"):
        journal.remember(fact, app.source)


def last_settings(journal: Journal) -> dict[str, Any] | None:
    """What was remembered; an earlier version of substitute noted the balancers in use alone, the present one first."""
    if known := journal.fact(_SETTINGS):
        return dict(json.loads(known))
    in_use = json.loads(journal.fact(IN_USE) or "{}")
    return {"balancer": next(iter(in_use.values()))} if in_use else None


def secrets_of(file: Path, root: Path) -> dict[str, str]:
    """The variables of an `env_file`. Raises ConfigError."""
    try:
        return read_env_file(file, root)
    except EnvFileError as error:
        raise ConfigError(
            f"{file} cannot be used.", problems=tuple(text for _, text in error.problems)
        ) from None
