"""Podman with an image in which nothing is but what is shown of this machine: no registry, no image of anybody's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from substitute.core.model.programs import Container, Mount
from substitute.linux.root_names import prefix_of

SHOWN = tuple(
    Path(place)
    for place in dict.fromkeys(["/usr", "/bin", "/lib", "/lib64", sys.prefix, sys.base_prefix])
    if Path(place).exists()
)
WORKS_IN = Path("/app")
_BRIDGE = Path("/sys/class/net/cni-podman0")
_SETTINGS = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
runtime = "runc"
"""
"""crun refuses a machine that has both versions of control groups; and not every root may raise limits."""

_STORAGE = """\
[storage]
driver = "vfs"
graphroot = "/var/lib/containers/plain"
runroot = "/run/containers/storage"
"""
"""For a machine of `tests.machines`: its disk is an overlay already, and bears no other one."""


class Podmans:
    """Podman as it is set up for tests, and one image of theirs."""

    def __init__(self, place: Path, *changes: str) -> None:
        """`changes` are those of a Dockerfile."""
        if os.geteuid() or not (shutil.which("podman") and shutil.which("runc")):
            pytest.skip("needs root, Podman and runc")
        self._had_bridge = _BRIDGE.exists()
        self._settings = place / "containers.conf"
        self._settings.write_text(_SETTINGS)
        os.environ["CONTAINERS_CONF"] = str(self._settings)
        if socket.gethostname() == "testmachine":
            Path("/etc/containers/storage.conf").write_text(_STORAGE)
        empty = subprocess.run(
            ["tar", "--create", "--files-from", os.devnull], check=True, capture_output=True
        )
        given = [f"--change={change}" for change in (f"WORKDIR {WORKS_IN}", *changes)]
        done = subprocess.run(
            ["podman", "import", "--quiet", *given, "-"], input=empty.stdout, check=True, capture_output=True
        )
        self.image = done.stdout.decode().split()[-1]
        if not self.image.startswith("sha256:"):
            self.image = f"sha256:{self.image}"

    def knows(self, place: Path) -> str:
        """The container of the root in `place`, as Podman's own list has it."""
        return self("ps", "--all", "--format={{.Names}}", f"--filter=name={prefix_of(place)}")

    def __call__(self, *arguments: str, **more: Any) -> str:
        command = ["podman", *arguments]
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            command, check=False, capture_output=True, **more
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def container(self, directory: Path, **more: object) -> Container:
        """One that works in `directory`."""
        shown = [Mount(place, place) for place in SHOWN]
        return Container(self.image, (*shown, Mount(directory, WORKS_IN)), **more)  # type: ignore[arg-type]

    def close(self) -> None:
        """Remove all that was made. A container that a runtime has left would keep the image."""
        try:
            self("rmi", self.image.removeprefix("sha256:"))
        finally:
            del os.environ["CONTAINERS_CONF"]
            if _BRIDGE.exists() and not self._had_bridge:
                subprocess.run(["ip", "link", "delete", _BRIDGE.name], check=True)
