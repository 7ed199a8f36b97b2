"""The ways to deploy that are compared. Each takes the next version live, and the one before again."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tests.contracts import nginxes, traefiks
from tests.waiting import eventually

from bench.comparison.repository import Repository
from bench.processes import within
from bench.site import free_port
from substitute.core.model.slots import Endpoint
from substitute.linux.processes import descendants, identify, is_alive, signal_process

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.model.programs import Process

_SCRIPTS = Path(__file__).parent / "scripts"
PATIENCE = 20.0
"""Seconds that a command may take."""
_BIN = Path(sysconfig.get_path("scripts"))


class Procedure(Protocol):
    """A way to deploy, set up in a place of its own."""

    repository: Repository
    door: Endpoint
    """Where its users connect."""

    def run(self, operation: str) -> int:
        """``deploy`` or ``rollback``: the command's exit status, or -9 where it was still at it after `PATIENCE`."""

    def resident(self) -> set[int]:
        """The processes that stay, without the app's own."""

    def end(self) -> None:
        """End everything."""


@dataclass(frozen=True)
class Row:
    """A procedure under its name."""

    name: str
    make: Callable[[Path], Procedure]
    ours: bool = False
    gunicorn: bool = False
    """It deploys app.py, where the others deploy www.js."""


class Nginx:
    """nginx in front, with an upstream in a file of its own."""

    def __init__(self, place: Path, upstream: str, binary: str = "nginx") -> None:
        self.listen = Endpoint("127.0.0.1", free_port())
        self.file = place / "upstream.conf"
        self.file.write_text(f"upstream shop {{ {upstream} }}\n")
        found = shutil.which(binary) or shutil.which(binary, path="/usr/sbin") or binary
        self.users = nginxes.UsersNginx(place / "nginx", self.file, self.listen, found)

    def start(self) -> None:
        """Start it."""
        self.users.start()

    @property
    def command(self) -> str:
        """What a script calls it by."""
        return shlex.join(
            [self.users.binary, "-c", str(self.users.config), "-p", str(self.users.config.parent)]
        )

    def processes(self) -> set[int]:
        """Its master and its workers."""
        master = self.users.master
        return {master.pid, *descendants(master.pid)} if master else set()


class Script:
    """A script of this directory, in a place with clones, with nginx in front or nothing."""

    def __init__(
        self, place: Path, script: str, *, clones: str = "a", upstream: str = "", pm2: str = ""
    ) -> None:
        """Set it up; `upstream` is what nginx in front has, with ``{a}`` and ``{b}``; without it there is none."""
        self.repository = Repository(place / "repository")
        self._place, self._script = place, script
        for clone in clones:
            self.repository.clone(place / clone)
        a, b = free_port(), free_port()
        self.door = Endpoint("127.0.0.1", a)
        self.nginx: Nginx | None = None
        settings = {"PORT_A": a, "PORT_B": b, "GUNICORN": _BIN / "gunicorn", "PM2": pm2}
        if upstream:
            self.nginx = Nginx(place, upstream.format(a=f"127.0.0.1:{a}", b=f"127.0.0.1:{b}"))
            self.nginx.start()
            self.door = self.nginx.listen
            settings |= {"NGINX": shlex.quote(self.nginx.command), "UPSTREAM": self.nginx.file}
        (place / "site.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def run(self, operation: str) -> int:
        """Run the script."""
        homes = {"HOME": str(self._place), "PM2_HOME": str(self._place / "pm2")}
        return _run([str(_SCRIPTS / self._script), operation], self._place, **homes)

    def resident(self) -> set[int]:
        """What manages the app, and nginx."""
        return self._managers() | (self.nginx.processes() if self.nginx else set())

    def end(self) -> None:
        """End the app, what manages it, and nginx."""
        for pid in self._managers() | self._pids("*.pid"):
            if process := identify(pid):
                signal_process(process, signal.SIGTERM)
                eventually(partial(_is_gone, process))
        if self.nginx:
            self.nginx.users.end()

    def _managers(self) -> set[int]:
        return self._pids("gunicorn.pid") | self._pids("pm2/pm2.pid")

    def _pids(self, pattern: str) -> set[int]:
        return {int(file.read_text()) for file in self._place.glob(pattern)}


class Substitute:
    """substitute itself, by its command."""

    def __init__(
        self, place: Path, front: Callable[[Path, int, int], Front], start: str = "node www.js"
    ) -> None:
        self.repository = Repository(place / "repository")
        self._root = place / "root"
        self._root.mkdir()
        a, b = free_port(), free_port()
        self._front = front(place, a, b)
        self.door = self._front.door
        (self._root / "substitute.toml").write_text(
            f"[balancer]\n{self._front.keys}\n\n[app.shop]\n"
            f'repo = "{self.repository.directory}"\nstart = {json.dumps(start)}\nports = [{a}, {b}]\n'
        )

    def run(self, operation: str) -> int:
        """Run ``substitute deploy`` or ``rollback``."""
        return _run([sys.executable, "-m", "substitute", operation], self._root)

    def resident(self) -> set[int]:
        """Supervisord and, as the case may be, HAProxy or what stands in front."""
        return within(self._root / "deploy" / "run") | self._front.processes()

    def end(self) -> None:
        """Everything down."""
        self.run("down")
        self._front.end()


@dataclass(frozen=True)
class Front:
    """What substitute is to work with."""

    keys: str
    """Of ``[balancer]``."""
    door: Endpoint
    processes: Callable[[], set[int]] = set
    end: Callable[[], object] = int


def embedded(_place: Path, _a: int, _b: int) -> Front:
    """HAProxy, run by substitute."""
    door = Endpoint("127.0.0.1", free_port())
    return Front(f'listen = "{door}"', door)


def passive(place: Path, a: int, b: int) -> Front:
    """The user's nginx, never touched."""
    nginx = Nginx(place, f"server 127.0.0.1:{a}; server 127.0.0.1:{b};")
    nginx.start()
    return Front('kind = "passive"', nginx.listen, nginx.processes, nginx.users.end)


def reloaded(place: Path, a: int, _b: int) -> Front:
    """The user's nginx, by reload."""
    nginx = Nginx(place, f"server 127.0.0.1:{a};")
    nginx.start()
    keys = f'kind = "nginx"\nfile = "{nginx.file}"\nconfig = "{nginx.users.config}"\nbinary = "{nginx.users.binary}"'
    return Front(keys, nginx.listen, nginx.processes, nginx.users.end)


def traefik(place: Path, _a: int, _b: int) -> Front:
    """The user's Traefik."""
    program = traefiks.program_at(place / "traefik", Endpoint("127.0.0.1", free_port()))
    program.start()
    keys = f'kind = "traefik"\nfile = "{program.file}"\napi = "{program.url}"'
    return Front(keys, program.listen, lambda: {program.pid}, program.stop)


def _run(argv: list[str], directory: Path, **environment: str) -> int:
    with (directory / "bench.log").open("ab") as log:
        command = subprocess.Popen(
            argv,
            cwd=directory,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            return command.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            command.kill()
            return command.wait()


def _is_gone(process: Process) -> bool:
    return not is_alive(process)


def pm2(place: Path) -> str:
    """Install PM2 from npm where it is not yet; how it is called."""
    if not (place / "node_modules").exists():
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(place), "pm2"],
            check=True,
        )
    return str(place / "node_modules" / ".bin" / "pm2")
