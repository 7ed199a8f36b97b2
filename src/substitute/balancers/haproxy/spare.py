"""The two backends of an app that look for an asset which there was not: in the spare slot, then in the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.balancers.haproxy.names import LAST, OF_LAST, OF_OTHER, of_backend, of_servers
from substitute.balancers.haproxy.sections import choice, passing_on, server, telling

if TYPE_CHECKING:
    from substitute.core.ports.balancer import Backend

_ASSET_SECONDS = 10
"""How long who may have an asset may be silent: nobody waits longer for a version that hangs, and gets no requests."""


def other(backend: Backend, *, adjustable: bool) -> list[str]:
    """The backend that asks the spare slot for an asset: who has no weight in the one that asks last.

    Without it there, it is asked there. Neither is ever asked for anything else.
    """
    here, asked_last = of_backend(backend) + OF_OTHER, of_backend(backend) + OF_LAST
    return [
        f"backend {here}",
        "    retry-on conn-failure empty-response response-timeout 404",
        "    option redispatch 1",
        "    retries 1",
        f"    timeout server {_ASSET_SECONDS}s",
        *passing_on(to="last"),
        *choice(backend, f"srv_weight({asked_last}/{{}}) eq 0"),
        *(server(name, each.endpoint, 0, adjustable=adjustable) for name, each in of_servers(backend)),
        f"    server last unix@/proc/self/cwd/{LAST} send-proxy-v2 pool-max-conn 0",
    ]


def last(backend: Backend, *, adjustable: bool) -> list[str]:
    """The backend that asks the slot that is not spare, whose answer counts. While none is spare, nobody has weight."""
    return [
        f"backend {of_backend(backend)}{OF_LAST}",
        "    balance roundrobin",
        *telling(name="last"),
        *(
            server(
                name, each.endpoint, 0 if backend.spare in {None, each.slot} else 100, adjustable=adjustable
            )
            for name, each in of_servers(backend)
        ),
    ]
