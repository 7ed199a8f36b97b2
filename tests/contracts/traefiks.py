"""The user's own Traefik: its static configuration, a directory of dynamic ones, and a router of the user's."""

from __future__ import annotations

import socket
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.balancers.traefik.api import SilentError, service
from substitute.balancers.traefik.balancer import Traefik
from substitute.core.model.slots import Endpoint
from tests.contracts.balanced_site import Kind
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.contracts.balanced_site import Site

BINARY = Path(sysconfig.get_path("scripts")) / "traefik"
_ROUTERS = """\
http:
  routers:
    shop: {rule: "PathPrefix(`/`)", service: shop@file, entryPoints: [web]}
    blog: {rule: "Host(`blog.example.com`)", service: blog@file, entryPoints: [web]}
"""


@dataclass
class Program:
    """A Traefik that requests reach at `listen`."""

    home: Path
    listen: Endpoint
    api: Endpoint
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running program."""
        assert self._process
        return self._process.pid

    @property
    def url(self) -> str:
        """Where its API answers."""
        return f"http://{self.api}"

    @property
    def file(self) -> Path:
        """The file in its directory that is substitute's."""
        return self.home / "dynamic" / "substitute.yml"

    def configure(self, *, provider: str = "directory", throttle: str = "100ms", api: str = "") -> None:
        """Write its static configuration and the user's routers."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        (self.file.parent / "routers.yml").write_text(_ROUTERS)
        watched = {"directory": self.file.parent, "filename": self.file}.get(provider)
        (self.home / "traefik.yml").write_text(
            "global: {checkNewVersion: false}\n"
            f"entryPoints: {{web: {{address: '{self.listen}'}}, traefik: {{address: '{self.api}'}}}}\n"
            f"api: {api or '{insecure: true}'}\n"
            f"providers:\n  providersThrottleDuration: {throttle}\n"
            + (f"  file: {{{provider}: '{watched}'}}\n" if watched else "")
        )

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with (self.home / "traefik.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(BINARY), f"--configFile={self.home / 'traefik.yml'}"],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        eventually(lambda: self._listens(self.listen) and self._listens(self.api))

    def stop(self) -> None:
        """Kill it."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """What it said."""
        return (self.home / "traefik.log").read_text()

    def knows(self, app: str) -> bool:
        """Whether the app's service is in force."""
        try:
            return service(self.url, f"{app}@file") is not None
        except SilentError:
            return False

    def api_answers(self) -> bool:
        """Whether its API can be asked."""
        try:
            service(self.url, "none@file")
        except SilentError:
            return False
        return True

    def _listens(self, endpoint: Endpoint) -> bool:
        assert self._process
        assert self._process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex((endpoint.host, endpoint.port)) == 0


def program_at(home: Path, listen: Endpoint) -> Program:
    """One that is configured as docs/balancers.md says, and does not run yet."""
    made = Program(home, listen, Endpoint("127.0.0.1", free_port()))
    made.configure()
    return made


def of(site: Site) -> Program:
    """The program of the site."""
    return _PROGRAMS[site.root]


def make(site: Site) -> Traefik:
    """Start Traefik with the user's router, and make the adapter."""
    program = _PROGRAMS[site.root] = program_at(site.root / "traefik", site.listen)
    site.at_end(lambda: _PROGRAMS.pop(site.root))
    site.at_end(program.stop)
    program.start()
    return Traefik(program.file, program.url)


def restart(site: Site) -> None:
    """Kill it, and start it as its user would."""
    of(site).stop()
    of(site).start()
    eventually(lambda: of(site).knows("shop"))


_PROGRAMS: dict[Path, Program] = {}
KINDS = {"traefik": Kind(make, restart, counts=False)}
