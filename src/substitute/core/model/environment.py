"""The environment that builds, hooks and instances get."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from substitute.core.model.apps import App
    from substitute.core.model.instances import InstanceRecord
    from substitute.core.model.records import GuestRecord, RunRecord, SlotRecord
    from substitute.core.model.versions import Version

INHERITED = ("PATH", "HOME", "USER", "LANG", "TZ")
"""What is taken over from the deploying command; everything else a shell holds stays out."""
OF_THIS_MACHINE = frozenset({"PATH", "HOME", "USER"})
"""What means nothing in a container, which has its image's own."""
IN_A_HOOK = "SUBSTITUTE_HOOK"
"""The variable that hooks have, and what they start: a daemon of theirs (pm2) may be for more than one slot."""
IN_A_RUN = "SUBSTITUTE_RUN"
"""The variable with the number of a run, which its processes have. It goes on when the instances of its slot stop."""
_ANY = "0.0.0.0"  # noqa: S104  # of a container's own network
_SOCKET_PATH = 108
"""Bytes that a socket's path may have, its end included."""
_USUAL = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def caller_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Choose from `environ` what instances inherit."""
    found = {name: environ[name] for name in INHERITED if name in environ}
    return {"PATH": _USUAL, **found}


def absolute_places(path: str) -> str:
    """A PATH without its relative directories, which mean another one wherever a program is run."""
    return ":".join(place for place in path.split(":") if place.startswith("/")) or _USUAL


def origin(slot: SlotRecord, process_type: str = "") -> dict[str, str]:
    """The variables that all have which was ever started for `slot`: instances, builds, and what these start.

    With `process_type`, its instances alone, and what they start.
    """
    return {
        "SUBSTITUTE_APP": slot.app,
        "SUBSTITUTE_SLOT": slot.name.value,
        "SUBSTITUTE_DIRECTORY": str(slot.directory),
        **({"SUBSTITUTE_PROCESS": process_type} if process_type else {}),
    }


def guest_origin(guest: GuestRecord) -> dict[str, str]:
    """The same for a guest."""
    return {
        "SUBSTITUTE_APP": guest.name,
        "SUBSTITUTE_PORT": str(guest.port),
        "SUBSTITUTE_DIRECTORY": str(guest.directory),
    }


def apart(slot: SlotRecord) -> dict[str, str]:
    """What keeps the two slots' instances from sharing a daemon of their user's; `env` and `env_file` come before it.

    pm2's lies in the user's home: the second slot's `pm2-runtime` would join the first one's, and end it when it ends
    itself. In ``.git`` nothing is shown as untracked or cleaned away, and the app's user may write.
    """
    place = str(slot.directory / ".git" / "pm2")
    longest = f"{place}/interactor.sock"
    return {"PM2_HOME": place} if len(longest.encode()) < _SOCKET_PATH else {}


def whereabouts(slot: SlotRecord, instance: InstanceRecord | None = None) -> dict[str, str]:
    """The variables that tell `instance` its place; without one, a build or a hook of `slot`.

    What answers no requests has no port.
    """
    listens = instance.endpoints if instance else slot.endpoints[:1]
    place = {"SUBSTITUTE_COMMIT": slot.commit or "", **origin(slot)}
    if instance:
        place |= {"SUBSTITUTE_PROCESS": instance.process_type, "SUBSTITUTE_INSTANCE": str(instance.number)}
    for endpoint in listens:
        port = str(endpoint.port)
        place |= {"PORT": port, "HOST": endpoint.host, "BIND": endpoint.host, "SUBSTITUTE_PORT": port}
    return place


def _inside(port: int) -> dict[str, str]:
    """Where a program is to listen that has a network of its own."""
    return {"ADDRESS": f"0.0.0.0:{port}", "PORT": str(port), "HOST": _ANY, "BIND": _ANY}


def instance_environment(
    app: App, slot: SlotRecord, caller: Mapping[str, str], instance: InstanceRecord | None = None
) -> dict[str, str]:
    """Compose caller's, `env_file`, `secrets`, `env` and the variables that tell an instance its place.

    Where it runs as a user of its own, its home is not the caller's: whoever starts it sets that.
    """
    listens = instance.endpoints if instance else slot.endpoints[:1]
    # The address first: an app may have a variable of that name already.
    address = {"ADDRESS": str(listens[0])} if listens else {}
    given = {**app.secrets.of_file, **app.secrets.values, **app.env}
    inside = _inside(app.image.port) if app.image.id and app.image.port and listens else {}
    return {**_of(caller, app.user), **address, **given, **whereabouts(slot, instance), **inside}


def run_environment(app: App, slot: SlotRecord, caller: Mapping[str, str], run: RunRecord) -> dict[str, str]:
    """What an instance of `slot` has, without a port: for a command that runs beside the instances."""
    given = {**app.secrets.of_file, **app.secrets.values, **app.env}
    place = {"SUBSTITUTE_COMMIT": slot.commit or "", **origin(slot), IN_A_RUN: str(run.id)}
    cron = {"SUBSTITUTE_CRON": run.cron} if run.cron else {}
    own = {} if app.image.id else apart(slot)
    return {**own, **_of(caller, app.user), **given, **place, **cron}


def passed(app: App, environ: Mapping[str, str]) -> dict[str, str]:
    """What of `environ`, that of the command that deploys, builds and hooks get besides; no instance does."""
    return {name: environ[name] for name in app.pass_env if name in environ}


def guest_environment(guest: GuestRecord, version: Version, secrets: Mapping[str, str]) -> dict[str, str]:
    """As `instance_environment`, for a guest, which is in no slot."""
    return {
        **_of(version.caller, version.user),
        "ADDRESS": f"127.0.0.1:{guest.port}",
        **secrets,
        **version.env,
        "PORT": str(guest.port),
        "HOST": "127.0.0.1",
        "BIND": "127.0.0.1",
        **guest_origin(guest),
    }


def _of(caller: Mapping[str, str], user: str | None) -> dict[str, str]:
    """What `user` gets of the environment that a command was typed in."""
    return {name: value for name, value in caller.items() if not user or name not in {"HOME", "USER"}}
