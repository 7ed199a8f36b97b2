"""What a version was started with, and proven: by that it is judged, revived and gone back to.

A configuration that is edited meanwhile belongs to the next deployment. How the deployer behaves (the time limits of
drain, stop, verify and hooks) is none of a version's.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from substitute.core.model.apps import Health
from substitute.core.model.programs import Limits, Protection
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from substitute.core.model.apps import App


_KEYS = {"stop_timeout": "stop.timeout", "notifies": "notify", "protections": "sandbox"}
"""What is called otherwise in substitute.toml."""


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
    caller: Mapping[str, str]
    """PATH, HOME and the like of the command that started it."""

    @classmethod
    def of(cls, app: App, caller: Mapping[str, str]) -> Version:
        """What `app` says now."""
        taken = {field.name: getattr(app, field.name) for field in fields(cls) if field.name != "caller"}
        return cls(**taken, caller=caller)

    def applied_to(self, app: App, secrets: Mapping[str, str]) -> App:
        """`app` with what this version was proven with; `secrets` are what its `env_file` says now."""
        return replace(
            app,
            start=self.start,
            health=health_of(app, self),
            user=self.user,
            notifies=self.notifies,
            limits=self.limits,
            protections=self.protections,
            env=self.env,
            env_file=self.env_file,
            secrets=secrets,
        )

    def dump(self) -> dict[str, Any]:
        """It as plain values, for JSON."""
        return {**asdict(self), "protections": sorted(self.protections)}

    @classmethod
    def load(cls, known: Mapping[str, Any]) -> Version:
        """What `dump` made."""
        return cls(
            **{
                **known,
                "health": Health(**known["health"]),
                "limits": Limits(**known["limits"]),
                "protections": frozenset(map(Protection, known["protections"])),
            }
        )


def changed_keys(app: App, version: Version) -> list[str]:
    """The keys of `app` in substitute.toml that say something else than when `version` was started.

    What `env_file` says is not among them: its values are kept nowhere.
    """
    today = Version.of(app, version.caller)
    found = [
        field.name for field in fields(Version) if getattr(today, field.name) != getattr(version, field.name)
    ]
    return [_KEYS.get(name, name) for name in found]


def health_of(app: App, version: Version | None) -> Health:
    """By what `version` is judged, today's where it is not known. One that needs longer than it did is given it."""
    if version is None:
        return app.health
    return replace(version.health, timeout=max(version.health.timeout, app.health.timeout))


def written(version: Version, commit: str | None = None) -> str:
    """The version of a slot that holds `commit`, or of a guest, as the journal keeps it."""
    return json.dumps({"commit": commit, **version.dump()})


def read(text: str | None, commit: str | None = None) -> Version | None:
    """What was `written`; None where it was of another commit: the slot was built anew since."""
    known = json.loads(text) if text else {}
    return Version.load(known) if known and known.pop("commit") == commit else None
