"""Commands beside the instances of an app whose versions are images: each runs in a container of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.environment import OF_THIS_MACHINE
from substitute.core.model.slots import Phase
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from substitute.core.host import Host
    from substitute.core.model.apps import App

_OF_ENGINES = frozenset({"XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE", "TMPDIR", "LANG"})


@dataclass(frozen=True)
class Command:
    """What is run, and how."""

    argv: Sequence[str]
    directory: Path
    environment: Mapping[str, str]
    user: str | None


def in_container(host: Host, app: App, command: Command, *, name: str, terminal: bool = False) -> Command:
    """`command` in a container of the version's image, called `name`, where it runs in one; else as it is.

    The container is held to the limits of `app`.
    """
    container, engine = host.container(app), host.engine()
    if container is None or engine is None:
        return command
    variables = sorted(command.environment.keys() - OF_THIS_MACHINE)
    argv = engine.running(
        command.argv, container, name=name, variables=variables, limits=app.limits, terminal=terminal
    )
    return Command(argv, host.root, {**command.environment, **of_engine(host)}, None)


def of_engine(host: Host) -> dict[str, str]:
    """What the engine's own program has of the environment of who typed the command: where it is, and its logins."""
    return {
        name: value
        for name, value in host.environ.items()
        if name in OF_THIS_MACHINE | _OF_ENGINES or name.startswith(("DOCKER_", "CONTAINERS_"))
    }


def called(app: str, phase: Phase) -> str:
    """The name of what runs for `app` in a phase of a deployment: one command after the other."""
    return f"{app}_{phase}"


def end_leftover_containers(host: Host, app: str) -> None:
    """End what a killed deployer may have left in containers: of a build, and of a release."""
    if engine := host.engine():
        engine.end_builds(app)
        engine.end(called(app, Phase.RELEASE))


def end_container(host: Host, name: str) -> None:
    """End the container of such a command, which may have outlived the program that it was run by."""
    if engine := host.engine():
        engine.end(name)
