"""The environment that builds, hooks and instances get."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from substitute.core.apps import App
    from substitute.core.records import SlotRecord

INHERITED = ("PATH", "HOME", "USER", "LANG", "TZ")
"""What is taken over from the deploying command; everything else a shell holds stays out."""
_USUAL = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def caller_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Choose from `environ` what instances inherit."""
    found = {name: environ[name] for name in INHERITED if name in environ}
    return {"PATH": _USUAL, **found}


def absolute_places(path: str) -> str:
    """A PATH without its relative directories, which mean another one wherever a program is run."""
    return ":".join(place for place in path.split(":") if place.startswith("/")) or _USUAL


def marks(app: str, slot: SlotRecord) -> dict[str, str]:
    """The variables by which an instance of `slot` is known as such, whoever started it."""
    return {
        "SUBSTITUTE_APP": app,
        "SUBSTITUTE_SLOT": slot.name.value,
        "SUBSTITUTE_PORT": str(slot.endpoints[0].port),
    }


def whereabouts(app: App, slot: SlotRecord) -> dict[str, str]:
    """The variables that tell an instance its place."""
    endpoint = slot.endpoints[0]
    return {
        "PORT": str(endpoint.port),
        "HOST": endpoint.host,
        "BIND": endpoint.host,
        **marks(app.name, slot),
        "SUBSTITUTE_DIRECTORY": str(slot.directory),
        "SUBSTITUTE_COMMIT": slot.commit or "",
    }


def instance_environment(app: App, slot: SlotRecord, caller: Mapping[str, str]) -> dict[str, str]:
    """Compose caller's, `env_file`, `env` and the variables that tell an instance its place.

    Where it runs as a user of its own, its home is not the caller's: whoever starts it sets that.
    """
    if app.user:
        caller = {name: value for name, value in caller.items() if name not in {"HOME", "USER"}}
    return {**caller, **app.secrets, **app.env, **whereabouts(app, slot)}
