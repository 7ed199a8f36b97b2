"""The table [balancer]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.config.tables import Table, key, optional
from substitute.config.values import (
    Binary,
    Duration,
    File,
    Listen,
    Networks,
    PositiveDuration,
    Switch,
    Url,
    choice,
)

if TYPE_CHECKING:
    from collections.abc import Collection


class BalancerConfig(Table):
    """The balancer that forwards requests to the live versions of all apps here. See docs/balancers.md."""

    kind = key(
        choice("haproxy", "passive", "nginx", "traefik"),
        "Which balancer. substitute starts `haproxy` and keeps it running. The others are your own: `passive` lists "
        "both slots and is never changed, `nginx` includes a file that substitute writes, `traefik` watches one.",
        default="haproxy",
    )
    listen = key(
        Listen,
        "The address at which clients connect, `HOST:PORT`. `*:80` is every address. Write IPv6 in brackets. "
        "After a change the old address also answers, until nobody uses it (docs/balancers.md).",
        default="127.0.0.1:8080",
        kinds=("haproxy",),
    )
    binary = optional(
        Binary,
        "The balancer's program, an absolute path or a name on PATH. Without it: the one on PATH. "
        "If no HAProxy 2.6 or later is there, the one that was installed with substitute.",
        example="/usr/sbin/haproxy",
        kinds=("haproxy", "nginx"),
    )
    client_timeout = key(
        PositiveDuration,
        "How long a client may be silent in the middle of a request. Then its connection is closed.",
        default="1m",
        kinds=("haproxy",),
    )
    server_timeout = key(
        PositiveDuration,
        "How long an app may be silent before its client gets a 504. "
        "It is long, because the app knows better than a balancer how long an answer may take.",
        default="1h",
        kinds=("haproxy",),
    )
    trusted_proxies = key(
        Networks,
        "The addresses of proxies that end TLS in front of this balancer. X-Forwarded-For and -Proto are kept if a "
        "request comes from one of them, and replaced otherwise.",
        default=("127.0.0.0/8", "::1"),
        kinds=("haproxy",),
    )
    keep_connections = key(
        Switch,
        "Whether connections to the apps are kept for further GET requests. Turn it off for an app that writes an "
        "answer in small parts and delays each until the one before is acknowledged: that takes 40 ms on a connection "
        "that is kept. docs/balancers.md tells how to see and how to change that.",
        default=True,
        kinds=("haproxy",),
    )
    gate = key(
        choice("auto", "nft", "none"),
        "How traffic moves when substitute cannot configure the balancer. `nft`: the kernel redirects new connections "
        "to the live version (nftables). `none`: your balancer notices that the old version has stopped. `auto`: "
        "`nft` if it is available, else `none`.",
        default="auto",
        kinds=("passive",),
    )
    fail_timeout = key(
        Duration,
        "How long your balancer avoids a server that refused a connection; used if the kernel cannot redirect. "
        "nginx has an option of the same name. Set 0 if your nginx has `max_fails=0`.",
        default="10s",
        kinds=("passive",),
    )
    file = optional(
        File,
        "The file that substitute writes and the balancer reads. "
        "Without it: `deploy/run/nginx.conf` or `deploy/run/traefik.yml`.",
        example="/etc/nginx/conf.d/upstreams.conf",
        kinds=("nginx", "traefik"),
    )
    config = optional(
        File,
        "The main configuration file. Without it: the program's default.",
        example="/etc/nginx/nginx.conf",
        kinds=("nginx",),
    )
    api = key(Url, "The address of its API.", default="http://127.0.0.1:8080", kinds=("traefik",))

    def agree(self, written: Collection[str]) -> None:
        """Keys that mean nothing beside `kind` may have their defaults only."""
        self.refuse_foreign(written)
