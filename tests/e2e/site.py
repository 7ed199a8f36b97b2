"""A root with an app, worked on by the real command, and cleaned up whatever happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import substitute
from substitute.demo import repository as demo
from substitute.linux.processes import identify, is_alive, signal_process
from tests.ports import free_port
from tests.waiting import eventually

APP = Path(substitute.__file__).parent / "demo" / "app.py"
POLITE = Path(__file__).with_name("polite_app.py")
"""What is deployed where a test says nothing else."""


def fetch(url: str, **headers: str) -> str:
    """What a browser gets that has no cookies yet; names of `headers` have ``_`` for ``-``."""
    asked = urllib.request.Request(url, headers={name.replace("_", "-"): it for name, it in headers.items()})
    with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(asked, timeout=30) as answer:
        return str(answer.read().decode())


def killed(pid: int) -> None:
    """SIGKILL `pid`, and wait until it is gone: until then its port takes connections that nobody answers."""
    process = identify(pid)
    assert process
    signal_process(process, signal.SIGKILL)
    eventually(lambda: not is_alive(process) and not _other_threads(pid), f"{pid} is gone")


def _other_threads(pid: int) -> list[Path]:
    """Those that end after the first one: with the last of them its sockets are closed."""
    try:
        return [path for path in Path(f"/proc/{pid}/task").iterdir() if path.name != str(pid)]
    except FileNotFoundError:
        return []


def working_in(directory: Path) -> set[int]:
    """Every process that works in `directory` or below, but this one."""
    found = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink().is_relative_to(directory):
                found.add(int(entry.name))
    return found - {os.getpid()}


def kill_all_in(directory: Path) -> None:
    """SIGKILL whatever works in `directory`, until nothing does."""

    def kill() -> set[int]:
        left = working_in(directory)
        for pid in left:
            if process := identify(pid):
                signal_process(process, signal.SIGKILL)
        return left

    eventually(lambda: not kill(), f"nothing works in {directory}")


class Repository(demo.Repository):
    """A git repository of an app with good manners."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.commit("1")

    def commit(self, version: str, *, app: str | None = None, build: str = "true\n") -> str:
        """Commit a version; `app` replaces app.py, `build` is the text of build.sh."""
        if app is None:
            shutil.copyfile(POLITE, self.directory / "app.py")
        else:
            (self.directory / "app.py").write_text(app)
        (self.directory / "build.sh").write_text(build)
        (self.directory / "version.txt").write_text(version + "\n")
        return self.commit_all(f"Version {version}")


class Site:
    """A root; `run` is the real command."""

    def __init__(self, place: Path) -> None:
        self.root = place / "root"
        self.root.mkdir(parents=True)
        self.repository = Repository(place / "repository")
        self.port = free_port()
        self.ports = (free_port(), free_port())
        self.url = f"http://127.0.0.1:{self.port}/"
        self.balancer = f'listen = "127.0.0.1:{self.port}"'
        """The keys of [balancer]."""
        self.runtime = "supervisord"
        """Its kind; the tests need not know what this machine would be given."""
        self.configure()

    def configure(self, *, more: str = "", start: str = "", balancer: str = "") -> None:
        """Write substitute.toml."""
        start = start or f"{sys.executable} -S -E app.py"
        if os.geteuid() == 0 and "user =" not in more:  # else each deployment warns that it runs code as root
            more = 'user = "root"\n' + more
        (self.root / "substitute.toml").write_text(
            f'[balancer]\n{self.balancer}\n{balancer}\n[runtime]\nkind = "{self.runtime}"\n'
            f'[app.shop]\nrepo = "{self.repository.directory}"\nbuild = ["sh build.sh"]\n'
            f"start = {json.dumps(start)}\nports = [{self.ports[0]}, {self.ports[1]}]\n"
            f"{more}"
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "substitute", "-C", str(self.root), *arguments]

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        command = self.command(*arguments)
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(command, text=True, **{**piped, **options})

    def run(
        self, *arguments: str, exit_status: int = 0, patience: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """What the command wrote; it has `patience` seconds to end with `exit_status`."""
        with self.popen(*arguments) as process:
            out, err = process.communicate(timeout=patience)
        assert process.returncode == exit_status, f"exit {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def events(self, *arguments: str, exit_status: int = 0) -> list[dict[str, Any]]:
        out = self.run(*arguments, "--json", exit_status=exit_status).stdout
        return [json.loads(line) for line in out.splitlines()]

    def document(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run(*arguments, "--json").stdout)
        return found

    def status(self) -> dict[str, Any]:
        return self.document("status")

    def app(self) -> dict[str, Any]:
        found: dict[str, Any] = self.status()["apps"][0]
        return found

    def assert_only_serves(self, slot: str = "") -> None:
        """Slot `slot`, or one of them, is live with all requests, and nothing of the other runs."""
        app = self.app()
        slot = slot or app["live"]
        other = "b" if slot == "a" else "a"
        assert app["live"] == slot
        assert app["slots"][slot]["state"] == "live"
        assert app["slots"][slot]["share"] == 100
        assert app["slots"][other]["state"] == "idle"
        assert app["slots"][other]["pid"] is None
        assert app["deployment"] is None

    def pids(self) -> set[int]:
        """Every process that runs in the root, but this one."""
        return working_in(self.root)

    def running(self, *command_lines: str) -> list[int]:
        """The processes of the root with one of these command lines; one may end while it is looked at."""
        wanted, found = {b"\0".join([*line.encode().split(), b""]) for line in command_lines}, list[int]()
        for pid in self.pids():
            with suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes() in wanted:
                    found.append(pid)
        return found

    def close(self) -> None:
        """Kill what is left, whatever state it is in; systemd would start it again, and is told first."""
        if self.runtime != "supervisord":
            with self.popen("down") as process:
                process.communicate(timeout=60)
        kill_all_in(self.root)
