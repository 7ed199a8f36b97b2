"""A root with one app, for measurements."""

from __future__ import annotations

import compileall
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import substitute
from bench.processes import resident, within
from substitute.demo.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Iterable


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_ports(number: int, *, besides: Iterable[int] = ()) -> list[int]:
    """So many different ones: drawn one by one, some of a hundred are often drawn twice."""
    taken, found = set(besides), set[int]()
    while len(found) < number:
        found |= {free_port()} - taken
    return sorted(found)


def free_row(number: int) -> int:
    """The first of so many free ports one after the other."""
    while True:
        first = random.randrange(20_000, 32_000)  # noqa: S311  # below the ports of outgoing connections
        with ExitStack() as held, suppress(OSError, OverflowError):
            for port in range(first, first + number):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return first


class BenchSite:
    """A git repository with the sample app, and a root that deploys it by the real command."""

    def __init__(self, place: Path, app: Path, *, runtime: str = "supervisord", start: str = "") -> None:
        compileall.compile_dir(Path(substitute.__file__).parent, quiet=1)  # as `pip install` leaves it
        self.repository = place / "repository"
        self.root = place / "root"
        self.start = start or f"{sys.executable} -S -E {app.name}"
        self.listen, *self.ports = free_ports(3)
        self._git = Repository(self.repository)
        self.root.mkdir()
        shutil.copy(app, self.repository / app.name)
        self.commit("1")
        (self.root / "substitute.toml").write_text(
            f'[balancer]\nlisten = "127.0.0.1:{self.listen}"\n\n[runtime]\nkind = "{runtime}"\n\n'
            f'[app.bench]\nrepo = "{self.repository}"\n'
            f'start = "{self.start}"\nports = {self.ports}\n'
        )

    def commit(self, version: str) -> str:
        """Commit a version of the app; the commit is returned."""
        (self.repository / "version.txt").write_text(version + "\n")
        return self._git.commit_all(f"version {version}")

    def run(self, *arguments: str) -> str:
        """Run a command of substitute in the root; its output is returned."""
        command = [str(Path(sys.executable).with_name("substitute")), *arguments]
        done = subprocess.run(command, cwd=self.root, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, as a process whose whole output can be read."""
        command = [str(Path(sys.executable).with_name("substitute")), *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=self.root, text=True, **pipes)  # type: ignore[call-overload,no-any-return]

    def status(self) -> dict[str, Any]:
        """What ``status --json`` says."""
        found: dict[str, Any] = json.loads(self.run("status", "--json"))
        return found

    def seconds(self) -> dict[str, float]:
        """The times of the latest deployment, by phase."""
        latest: dict[str, Any] = json.loads(self.run("history", "--json"))["deployments"][0]
        found: dict[str, float] = latest["seconds"]
        return found

    def resident(self) -> int:
        """Bytes of memory that supervisord and HAProxy hold."""
        return resident(within(self.root / "deploy" / "run"))

    def cpu_of_supervisord(self) -> float:
        """Processor seconds of supervisord, with those of its programs that have ended; 0 where there is none."""
        file = self.root / "deploy" / "run" / "supervisord.pid"
        if not file.exists():
            return 0.0
        pid = file.read_text().strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Stop everything."""
        self.run("down")
