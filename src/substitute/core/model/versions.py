"""What a version was started with, and proven: by that it is judged, revived and gone back to.

A configuration that is edited meanwhile belongs to the next deployment. How the deployer behaves (the time limits of
drain, stop, verify and hooks) is none of a version's.
"""

from __future__ import annotations

import json
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from substitute.core.model.apps import Order, ProcessType
from substitute.core.model.crons import load_crons
from substitute.core.model.health import Health
from substitute.core.model.instances import WEB
from substitute.core.model.programs import SIGTERM, Limits, Protection
from substitute.core.model.secrets import load_sources
from substitute.values import asdict, dataclass, field, fields, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from substitute.core.model.apps import App
    from substitute.core.model.crons import Cron
    from substitute.core.model.secrets import SecretSource


_KEYS = {
    "stop_timeout": "stop.timeout",
    "stop_signal": "stop.signal",
    "notifies": "notify",
    "protections": "sandbox",
    "processes": "process",
    "crons": "cron",
    "secrets_from": "secrets",
}
"""What is called otherwise in substitute.toml."""
_PLACES = {
    "env_file": "secrets.file",
    "secrets_from": "secrets.sources",
    "image_id": "image.id",
    "container_port": "image.port",
}
"""What an app has in a group of its settings."""


@dataclass(frozen=True)
class Version:
    """What the configuration said when it was started. Values of `env_file` are never among it: it is read again."""

    start: str
    health: Health
    stop_timeout: float
    """The limit that its runtime holds it to."""
    user: str | None
    notifies: bool
    limits: Limits
    protections: frozenset[Protection]
    env: Mapping[str, str]
    """Of substitute.toml."""
    env_file: str | None
    processes: Mapping[str, ProcessType]
    """Those beside ``web``."""
    caller: Mapping[str, str]
    """PATH, HOME and the like of the command that started it."""
    stop_signal: str = SIGTERM
    """By what its runtime tells it to stop."""
    directory: str = ""
    """Where in the slot it lives."""
    secrets_from: Mapping[str, SecretSource] = field(default_factory=dict)
    """Where its secrets came from."""
    crons: Mapping[str, Cron] = field(default_factory=dict)
    image_id: str = ""
    """The image that it runs in; empty: on this machine itself."""
    container_port: int | None = None
    """As the app's."""
    replicas: int = 1

    @classmethod
    def of(cls, app: App, caller: Mapping[str, str]) -> Version:
        """What `app` says now."""
        names = [one.name for one in fields(cls) if one.name != "caller"]
        taken = {name: attrgetter(_PLACES.get(name, name))(app) for name in names}
        return cls(**taken, caller=caller)

    def applied_to(self, app: App, secrets: Mapping[str, str]) -> App:
        """`app` with what this version was proven with; `secrets` are what its `env_file` says now."""
        return replace(
            app,
            start=self.start,
            health=health_of(app, self),
            stop_signal=self.stop_signal,
            user=self.user,
            notifies=self.notifies,
            limits=self.limits,
            protections=self.protections,
            env=self.env,
            directory=self.directory,
            processes=self.processes,
            crons=self.crons,
            # One without runs on this machine itself, whatever later ones run in.
            image=replace(
                app.image,
                id=self.image_id,
                name=app.image.name if self.image_id else "",
                dockerfile=app.image.dockerfile if self.image_id else "",
                port=self.container_port,
            ),
            replicas=self.replicas,
            secrets=replace(
                app.secrets, file=self.env_file, of_file=secrets, sources=self.secrets_from, values={}
            ),
        )

    def dump(self) -> dict[str, Any]:
        """It as plain values, for JSON.

        What has a default came later. It is left out where it says nothing, so that an earlier version reads it too.
        """
        processes = {
            name: {**_spoken(one), "health": _spoken(one.health)} for name, one in self.processes.items()
        }
        more = {"health": _spoken(self.health), "processes": processes}
        return {**_spoken(self), **more, "protections": sorted(self.protections)}

    @classmethod
    def load(cls, known: Mapping[str, Any]) -> Version:
        """What `dump` made."""
        return cls(
            **{
                **known,
                "health": _health(known["health"]),
                "limits": Limits(**known["limits"]),
                "secrets_from": load_sources(known.get("secrets_from", {})),
                "crons": load_crons(known.get("crons", {})),
                "protections": frozenset(map(Protection, known["protections"])),
                "processes": {name: _process(one) for name, one in known.get("processes", {}).items()},
            }
        )


def _process(known: Mapping[str, Any]) -> ProcessType:
    read = {
        "order": Order(known["order"]),
        "health": _health(known["health"]),
        "limits": Limits(**known["limits"]),
    }
    return ProcessType(**{**known, **read})


def _health(known: Mapping[str, Any]) -> Health:
    return Health(**{**known, "warm": tuple(known.get("warm", ()))})


def _spoken(value: Any) -> dict[str, Any]:
    """The fields of `value` without those that are as they are by default."""
    silent = {one.name for one in fields(value) if getattr(value, one.name) == _default(one)}
    return {name: one for name, one in asdict(value).items() if name not in silent}


def _default(one: Any) -> Any:
    return one.default_factory() if one.default_factory else one.default


def changed_keys(app: App, version: Version) -> list[str]:
    """The keys of `app` in substitute.toml that say something else than when `version` was started.

    What `env_file` says is not among them: its values are kept nowhere.
    """
    today = replace(Version.of(app, version.caller), image_id=version.image_id)
    if not app.start:  # that of a Procfile changes with the commit
        today = replace(today, start=version.start)
    today = replace(today, processes=_as_the_procfile_said(app.processes, version.processes))
    found = [one.name for one in fields(Version) if getattr(today, one.name) != getattr(version, one.name)]
    return [_KEYS.get(name, name) for name in found]


def _as_the_procfile_said(
    today: Mapping[str, ProcessType], then: Mapping[str, ProcessType]
) -> dict[str, ProcessType]:
    """`today`, with what the Procfile of a version said where the configuration says nothing."""
    known = {
        name: replace(one, start=one.start or then[name].start) if name in then else one
        for name, one in today.items()
    }
    return {**{name: one for name, one in then.items() if not one.configured}, **known}


def health_of(app: App, version: Version | None) -> Health:
    """By what `version` is judged, today's where it is not known. One that needs longer than it did is given it."""
    if version is None:
        return app.health
    return replace(version.health, timeout=max(version.health.timeout, app.health.timeout))


def stop_signal_of(app: App, version: Version | None, process_type: str) -> str:
    """By what an instance of `version` is told to stop: as it was proven, by today's signal where that is not known."""
    if process_type == WEB:
        return version.stop_signal if version else app.stop_signal
    known = {**app.processes, **(version.processes if version else {})}
    return known[process_type].stop_signal if process_type in known else SIGTERM


def written(version: Version, commit: str | None = None) -> str:
    """The version of a slot that holds `commit`, or of a guest, as the journal keeps it."""
    return json.dumps({"commit": commit, **version.dump()})


@lru_cache(maxsize=64)  # a deployment reads the same two again and again
def read(text: str | None, commit: str | None = None) -> Version | None:
    """What was `written`; None where it was of another commit: the slot was built anew since."""
    known = json.loads(text) if text else {}
    return Version.load(known) if known and known.pop("commit") == commit else None
