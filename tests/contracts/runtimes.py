"""Every runtime, and where its tests run. A new one joins by a line in KINDS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from substitute.runtimes.docker.runtime import Docker
from substitute.runtimes.podman.runtime import Podman
from substitute.runtimes.supervisord import runtime as supervisord
from substitute.runtimes.systemd import runtime as systemd
from tests.machines import USER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from substitute.core.ports.runtime import Runtime

CONNECT: dict[str, Callable[[Path], Runtime]] = {
    "supervisord": supervisord.connect,
    "systemd": systemd.connect,
    "systemd-user": systemd.connect,
    "docker": lambda run: Docker(supervisord.connect(run), run.parent.parent),
    "podman on systemd": lambda run: Podman(systemd.connect(run), run, in_unit=True),
    "podman on supervisord": lambda run: Podman(supervisord.connect(run), run, in_unit=False),
}
KINDS = [
    pytest.param("supervisord"),
    pytest.param("systemd", marks=pytest.mark.machine),
    pytest.param("systemd-user", marks=pytest.mark.machine(user=USER)),
    pytest.param("docker", marks=pytest.mark.containers),
    pytest.param("podman on systemd", marks=[pytest.mark.machine, pytest.mark.containers]),
    pytest.param("podman on supervisord", marks=pytest.mark.containers),
]
