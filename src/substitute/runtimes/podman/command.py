"""What Podman is told of a program: the line that runs its container, and the file of its environment."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from substitute.core.model.environment import OF_THIS_MACHINE
from substitute.core.model.errors import RuntimeFailedError
from substitute.core.model.programs import Protection
from substitute.runtimes.containers import arguments
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from substitute.core.model.programs import Container, Limits, Program
    from substitute.core.model.slots import Endpoint

FORWARDED = frozenset({"SIGTERM", "SIGQUIT", "SIGINT"})
"""The signals that conmon, which watches a container, hands on to it."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 1 << 15
"""Bytes of a line of an environment file. Podman refuses one of 64 KiB."""
_UNLIMITED = -1


@dataclass(frozen=True)
class Environment:
    """The variables of a container, by the way that each takes into it: none is on a command line."""

    file: str
    """A line for each that fits into one. Who executes `podman` does not have these: some would steer that too."""
    handed_on: Mapping[str, str]
    """Those of several lines, and very long ones: the client has them, and is told their names."""

    @classmethod
    def of(cls, program: Program) -> Environment:
        """What `program` is to have. Raises RuntimeFailedError for a name that no shell can export, and for a NUL."""
        for name, value in program.environment.items():
            if not _NAME.fullmatch(name) or "\0" in value:
                raise RuntimeFailedError(f"The environment variable {name!r} cannot be set.")
        wanted = {key: value for key, value in program.environment.items() if key not in OF_THIS_MACHINE}
        lines = {key: value for key, value in wanted.items() if _fits(value)}
        return cls(
            "".join(f"{key}={value}\n" for key, value in lines.items()),
            {key: value for key, value in wanted.items() if key not in lines},
        )


def engine(podman: str) -> list[str]:
    """How Podman is called. Control groups it makes by itself: below a unit they are its own, elsewhere nobody's.

    What it does it would note in systemd's journal, among the lines of the program.
    """
    return [podman, "--cgroup-manager=cgroupfs", "--events-backend=file"]


def run(
    podman: str, name: str, program: Program, container: Container, *, note: Path, pid: Path, in_unit: bool
) -> list[str]:
    """What runs the container `name` until it ends.

    `note` holds its environment, in the directory of the client; the number of its main process is noted in `pid`.
    `in_unit` where it is executed as a unit of systemd's: then the unit's main process is conmon.
    """
    return [
        *engine(podman),
        *("run", f"--name={name}", "--replace", "--rm", "--pull=never"),
        # The program has the log itself, no pipe: nothing is lost, whoever of Podman's is killed.
        "--log-driver=passthrough",
        "--no-healthcheck",
        *_notifying(program, in_unit=in_unit),
        *_limits(program.limits, in_unit=in_unit),
        f"--stop-signal={program.stop_signal}",
        f"--stop-timeout={max(1, math.ceil(program.stop_timeout))}",
        *(f"--publish={_published(*pair)}" for pair in container.published.items()),
        *([] if container.published else ["--network=host"]),
        *(f"--volume={_volume(mount.source)}:{_volume(mount.target)}" for mount in container.mounts),
        *([f"--user={program.user}"] if program.user else []),
        *(
            ["--security-opt=no-new-privileges"]
            if Protection.NO_NEW_PRIVILEGES in program.protections
            else []
        ),
        "--http-proxy=false",
        f"--pidfile={pid}",
        f"--env-file={note.name}",  # a path may have what Podman takes for a list
        *(f"--env={variable}" for variable in Environment.of(program).handed_on),
        container.image,
        *arguments(program.command),
    ]


def kill(podman: str, name: str, signal: str) -> list[str]:
    """What sends `signal` to the main process of the container `name`."""
    return [*engine(podman), "kill", f"--signal={signal}", name]


def remove(podman: str, name: str) -> list[str]:
    """What ends the container `name`, and forgets it."""
    return [*engine(podman), "rm", "--force", "--ignore", "--time=0", name]


def _fits(value: str) -> bool:
    return "\n" not in value and "\r" not in value and len(value.encode(errors="replace")) < _LONGEST


def _notifying(program: Program, *, in_unit: bool) -> list[str]:
    if not in_unit:
        return ["--sdnotify=ignore"]
    return [f"--sdnotify={'container' if program.notifies else 'conmon'}", "--cgroups=split"]


def _limits(limits: Limits, *, in_unit: bool) -> Iterator[str]:
    """Those of a unit are kept by the unit."""
    if limits.nofile is not None:
        yield f"--ulimit=nofile={limits.nofile}:{limits.nofile}"
    yield f"--pids-limit={_UNLIMITED if in_unit or limits.tasks is None else limits.tasks}"
    if in_unit:
        return
    if limits.memory is not None:
        yield from (f"--memory={limits.memory}", f"--memory-swap={limits.memory}")
    if limits.cpu is not None:
        yield f"--cpus={limits.cpu}"


def _published(endpoint: Endpoint, port: int) -> str:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{host}:{endpoint.port}:{port}"


def _volume(path: Path) -> str:
    if ":" in str(path):
        raise RuntimeFailedError(
            f"Podman cannot show {str(path)!r} in a container.", cure="Give it a name without a colon."
        )
    return str(path)
