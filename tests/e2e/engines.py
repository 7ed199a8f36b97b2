"""Container engines, and containers of this machine's own files: no registry, no image of anybody's."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = dict.fromkeys(["/usr", "/bin", "/lib", "/lib64", sys.prefix, sys.base_prefix])
"""What a container sees of this machine."""


class Engine:
    """One that runs, with an image in which nothing is but what is shown."""

    def __init__(self, name: str, *options: str) -> None:
        """`options` are those of its `run`, before all others."""
        self.command = (name,)
        self._options = options
        self._image = f"localhost/substitute-test:{secrets.token_hex(4)}"
        self._started: list[str] = []

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([*self.command, *arguments], check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout.strip()

    def fill(self) -> None:
        """Make the image."""
        empty = subprocess.run(
            ["tar", "--create", "--files-from", os.devnull], check=True, capture_output=True
        )
        subprocess.run(
            [*self.command, "import", "-", self._image], input=empty.stdout, check=True, capture_output=True
        )

    def start(self, directory: Path, *options: str, port: int, host: str) -> str:
        """Run the app of `directory`, started again whenever it ends; its container's name."""
        name = f"substitute-test-{secrets.token_hex(4)}"
        self._started.append(name)
        shown = [f"--volume={place}:{place}:ro" for place in _SHOWN if Path(place).exists()]
        self(
            *(*self._options, "run", "--detach", "--name", name, "--restart", "always", *options, *shown),
            *(f"--ulimit={limit}=20000:20000" for limit in ("nofile", "nproc")),
            *(f"--volume={directory}:/app", "--workdir=/app", f"--env=PORT={port}", f"--env=HOST={host}"),
            *(self._image, sys.executable, "-S", "-E", "app.py"),
        )
        return name

    def empty(self) -> None:
        """Remove all that was made."""
        for name in self._started:
            with suppress(AssertionError):
                self("rm", "--force", name)
        with suppress(AssertionError):
            self("rmi", "--force", self._image)


@contextmanager
def podman() -> Iterator[Engine]:
    """Podman, with runc: crun refuses a machine that has both versions of control groups. Skips where there is none."""
    engine = Engine("podman", "--runtime=runc")
    if os.geteuid() or not (shutil.which("podman") and shutil.which("runc")):
        pytest.skip("needs root, Podman and runc")
    bridge = Path("/sys/class/net/cni-podman0")
    had_bridge = bridge.exists()
    try:
        engine.fill()
        yield engine
    finally:
        engine.empty()
        if bridge.exists() and not had_bridge:
            subprocess.run(["ip", "link", "delete", bridge.name], check=True)


@contextmanager
def docker() -> Iterator[Engine]:
    """Docker: the machine's where it runs, else one of the test's own. Skips where there is none."""
    engine = Engine("docker")
    if os.geteuid() or not shutil.which("docker"):
        pytest.skip("needs root and Docker")
    with _daemon():
        try:
            engine.fill()
            yield engine
        finally:
            engine.empty()


def _answers() -> bool:
    return subprocess.run(["docker", "info"], check=False, capture_output=True).returncode == 0


@contextmanager
def _daemon() -> Iterator[None]:
    if _answers():
        yield
        return
    dockerd = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
    if dockerd is None:
        pytest.skip("needs a Docker daemon")
    place = Path(tempfile.mkdtemp(prefix="docker-"))
    own = [f"--data-root={place}/data", f"--exec-root={place}/exec", f"--pidfile={place}/pid"]
    with (place / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [dockerd, *own, "--host=unix:///var/run/docker.sock", "--iptables=false", "--ip6tables=false"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        eventually(lambda: _answers() or daemon.poll() is not None, "the daemon answers")
        if daemon.poll() is not None:
            pytest.skip(f"no Docker daemon can run here: {(place / 'log').read_text()[-500:]}")
        yield
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait()
        subprocess.run(["ip", "link", "delete", "docker0"], check=False, capture_output=True)
        _unmount(place)
        shutil.rmtree(place)


def _unmount(place: Path) -> None:
    """What the daemon had mounted below `place`."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed(mounted):
        if Path(mount).is_relative_to(place):
            subprocess.run(["umount", "--lazy", mount], check=True)
