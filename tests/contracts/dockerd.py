"""A dockerd of the tests' own, and an image in which nothing is but what is mounted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from substitute.core.model.programs import Container, Mount
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.model.slots import Endpoint

_SHOWN = dict.fromkeys(["/usr", "/bin", "/lib", "/lib64", sys.prefix, sys.base_prefix])
"""What a container sees of this machine."""
_MADE: list[Dockerd] = []
"""None is thrown away: a test inside a machine is a copy of this process, and would complain of what runs on."""
INIT = ["/usr/bin/tini", "--"]
"""An entrypoint that passes signals on. The first process of a container gets none that it does not handle."""


class Dockerd:
    """One that runs, or is made to run again."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.host = f"unix://{place}/docker.sock"
        self.images: dict[bool, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._below: subprocess.Popen[bytes] | None = None

    def __call__(self, *arguments: str, **more: Any) -> str:
        """What the client says."""
        command = ["docker", "--host", self.host, *arguments]
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            command, check=False, capture_output=True, **more
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def start(self, *options: str) -> None:
        self._start_containerd()
        own = [
            f"--containerd={self._containerd}",
            f"--data-root={self.place}/data",
            f"--exec-root={self.place}/exec",
            f"--pidfile={self.place}/pid",
        ]
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["dockerd", *own, f"--host={self.host}", "--iptables=false", "--ip6tables=false", *options],
                env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(lambda: self.answers() or self.has_ended(), "dockerd answers")
        if self.has_ended():
            pytest.skip(f"no dockerd can run here: {(self.place / 'log').read_text()[-500:]}")

    @property
    def _containerd(self) -> Path:
        return self.place / "containerd.sock"

    def _start_containerd(self) -> None:
        """A service of its own, as on a machine that has systemd: it goes on when dockerd ends."""
        if self._below:
            return
        own = [f"--root={self.place}/root", f"--state={self.place}/state", f"--address={self._containerd}"]
        with (self.place / "containerd.log").open("wb") as log:
            self._below = subprocess.Popen(
                ["containerd", *own], stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._containerd.exists, "containerd listens")

    def answers(self) -> bool:
        command = ["docker", "--host", self.host, "info"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process and not self.has_ended():
            self.process.send_signal(number)
            self.process.wait()

    def close(self) -> None:
        """End both, with all containers."""
        if self.process and self.has_ended():
            self.start()
        with suppress(AssertionError):
            if found := self("ps", "--all", "--quiet").split():
                self("rm", "--force", *found)
        self.end()
        if self._below:
            self._below.terminate()
            self._below.wait()

    def fill(self) -> None:
        """Make the images, with an init as entrypoint and without."""
        empty = subprocess.run(
            ["tar", "--create", "--files-from", os.devnull], check=True, capture_output=True
        )
        for init in (True, False):
            changes = [
                "--change",
                "WORKDIR /app",
                "--change",
                f"ENTRYPOINT {json.dumps(INIT if init else [])}",
            ]
            self.images[init] = self("import", *changes, "-", input=empty.stdout)

    def container(
        self, run: Path, published: dict[Endpoint, int] | None = None, *, init: bool = True
    ) -> Container:
        """What a program of the tests runs in. Its working directory is `run`."""
        shown = [Mount(Path(place), Path(place)) for place in _SHOWN if Path(place).exists()]
        return Container(self.images[init], (*shown, Mount(run, Path("/app"))), published or {})


@contextmanager
def dockerd() -> Iterator[Dockerd]:
    """One that ends with all that it had. Skips where there can be none."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    if os.geteuid() or not all(
        shutil.which(name, path=path) for name in ("docker", "dockerd", "containerd", "tini")
    ):
        pytest.skip("needs root, Docker and tini")
    maker = os.getpid()
    bridge = Path("/sys/class/net/docker0")
    had_bridge = bridge.exists()
    made = Dockerd(Path(tempfile.mkdtemp(prefix="docker-")))
    _MADE.append(made)
    try:
        made.start()
        made.fill()
        yield made
    finally:
        if os.getpid() == maker:  # a test inside a machine is a copy of this process, and ends all fixtures
            _remove(made, bridge if not had_bridge else None)


def _remove(made: Dockerd, bridge: Path | None) -> None:
    made.close()
    if bridge and bridge.exists():
        subprocess.run(["ip", "link", "delete", bridge.name], check=False, capture_output=True)
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in reversed(mounted):
        if Path(mount).is_relative_to(made.place):
            subprocess.run(["umount", "--lazy", mount], check=True)
    shutil.rmtree(made.place)
