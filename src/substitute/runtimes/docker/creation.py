"""What dockerd is told of a program: a container as its API takes it. Nothing here executes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from substitute.core.model.environment import OF_THIS_MACHINE
from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Protection
from substitute.runtimes.containers import arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from substitute.core.model.programs import Container, Limits, Program

ROOT, NAME = "substitute.root", "substitute.name"
"""The labels by which the containers of a root are found."""
RESTARTED, NOT_RESTARTED = "always", "no"
"""Started again however it ends, and after a reboot. What is stopped is told the other first: `always` would bring it
back at boot. `unless-stopped` would not; but a dockerd that was killed, and is not told to leave containers alone
(live-restore), stops them when it starts, and takes that for the user's wish. `on-failure` leaves what exits with 0."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BOUNDED = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
"""Docker's own default has no bound, and fills the disk."""


def labels_of(root: Path) -> str:
    """The filter for all that belongs to `root`."""
    return f"{ROOT}={_text(str(root))}"


def creation(program: Program, container: Container, root: Path, *, log_driver: str) -> dict[str, Any]:
    """The container of `program`. `log_driver` is dockerd's default. Raises RuntimeFailedError for what none can carry.

    A log that goes somewhere by the user's own configuration goes there, and dockerd keeps a copy to read.
    """
    given = arguments(program.command)
    if not all(map(_is_text, given)):
        raise RuntimeFailedError("The command cannot be carried: it is not UTF-8, or holds a NUL.")
    on_host = not container.published
    return {
        "Image": container.image,
        **({"Cmd": given} if given else {}),
        **({"User": program.user} if program.user else {}),
        "Env": list(_environment(program.environment)),
        "Labels": {
            ROOT: _text(str(root)),
            NAME: program.name,
            **{f"substitute.{name.lower()}": value for name, value in program.fields.items()},
        },
        "Healthcheck": {"Test": ["NONE"]},  # whether it is ready is asked from outside
        "StopSignal": program.stop_signal,
        "StopTimeout": max(1, round(program.stop_timeout)),
        "ExposedPorts": {f"{port}/tcp": {} for port in container.published.values()},
        "HostConfig": {
            "NetworkMode": "host" if on_host else "default",
            "PortBindings": _bindings(container),
            "RestartPolicy": {"Name": RESTARTED},
            "Mounts": [_mount(one.source, one.target) for one in container.mounts],
            "SecurityOpt": (
                ["no-new-privileges"] if Protection.NO_NEW_PRIVILEGES in program.protections else []
            ),
            **_limits(program.limits),
            **({"LogConfig": _BOUNDED} if log_driver == _BOUNDED["Type"] else {}),
        },
    }


def _environment(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if not _NAME.fullmatch(name) or not _is_text(value):
            raise RuntimeFailedError(f"The environment variable {name!r} cannot be set.")
        if name not in OF_THIS_MACHINE:
            yield f"{name}={value}"


def _bindings(container: Container) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for endpoint, port in container.published.items():
        found.setdefault(f"{port}/tcp", []).append({"HostIp": endpoint.host, "HostPort": str(endpoint.port)})
    return found


def _mount(source: Path, target: Path) -> dict[str, str]:
    """Not as ``source:target``, which no path with a colon fits; and what is not there is refused, not made."""
    if not _is_text(str(source)) or not _is_text(str(target)):
        raise RuntimeFailedError(
            f"Docker cannot carry the path {str(source)!r}.", cure="Give it another name."
        )
    return {"Type": "bind", "Source": str(source), "Target": str(target)}


def _limits(limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if limits.memory is not None:
        found |= {"Memory": limits.memory, "MemorySwap": limits.memory}  # the latter is both: no swap
    if limits.cpu is not None:
        found["NanoCpus"] = round(limits.cpu * 1e9)
    if limits.tasks is not None:
        found["PidsLimit"] = limits.tasks
    if limits.nofile is not None:
        found["Ulimits"] = [{"Name": "nofile", "Soft": limits.nofile, "Hard": limits.nofile}]
    return found


def _is_text(value: str) -> bool:
    return "\0" not in value and _text(value) == value


def _text(value: str) -> str:
    """What JSON can carry: a path need not be UTF-8."""
    return value.encode(errors="backslashreplace").decode()
