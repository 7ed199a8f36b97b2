"""HAProxy's configuration as text: what, not how."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from substitute.core.ports import Backend, Server

_CONNECT_MS, _RETRIES, _REDISPATCH = 500, 16, 3
"""A refused connection is tried again each half second, 16 times: new requests wait 8 s for a crashed instance.

Each third time at once, and at another server if one has a share: so a crashed candidate costs its requests a
second, and 5 s are left even where every server of an app crashed.
"""
_KEEP_ALIVE_MS = 3300
"""After a reload the old worker stays so long for its idle clients. No whole seconds: who asks again each n seconds
would always ask in the moment of the close."""
_FIRST_REQUEST_MS = 9300
_MOST_DESCRIPTORS = 50000
"""About 24,000 clients at once. Without it a machine with a limit of millions has memory for as many reserved."""
_HARD_STOP_MARGIN = 5
_MOST_THREADS = 4

_PAGE = (
    "<!doctype html><meta charset=utf-8><title>{title}</title>"
    "<body style='font:16px system-ui;margin:4em auto;max-width:32em'><h1>{title}</h1><p>{text}</p>"
)
_NOTHING = _PAGE.format(title="Service unavailable", text="No version of this app is serving at the moment.")
_UNKNOWN = _PAGE.format(title="Not found", text="No app is configured for this host name.")


@dataclass(frozen=True)
class Settings:
    """The table ``[balancer]``, as far as HAProxy needs it. Times are seconds."""

    listen: str
    binary: str | None
    client_timeout: float
    server_timeout: float
    trusted_proxies: tuple[str, ...]


def hard_stop_of(text: str) -> int:
    """Seconds after which a worker of that configuration, once replaced, ends, whatever it still does."""
    found = re.search(r"^ +hard-stop-after (\d+)s$", text, re.MULTILINE)
    return int(found[1]) if found else 0


def shares(backends: Sequence[Backend]) -> Iterator[tuple[tuple[str, str], int]]:
    """The weight of each server, under the names that HAProxy knows backend and server by."""
    for backend in backends:
        for name, server in _named(backend):
            yield (f"app_{backend.app}", name), server.share


def structure(settings: Settings, backends: Sequence[Backend]) -> str:
    """A name for everything but the weights: as long as it is the same, no reload is needed."""
    text = _render(settings, backends, description="", weights=False)
    return "substitute-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def render(settings: Settings, backends: Sequence[Backend]) -> str:
    """The whole file. A HAProxy that (re)starts from it serves by the shares in `backends`."""
    return _render(settings, backends, description=structure(settings, backends), weights=True)


def _render(settings: Settings, backends: Sequence[Backend], *, description: str, weights: bool) -> str:
    client, server = (round(1000 * t) for t in (settings.client_timeout, settings.server_timeout))
    longest = math.ceil(max((backend.drain_timeout for backend in backends), default=0))
    default = next((backend for backend in backends if not backend.domains), None)
    lines = [
        "# Written by substitute; it is replaced at every switch.",
        "global",
        f"    description {description or 'none'}",
        "    stats socket /proc/self/cwd/haproxy.sock mode 600 level admin expose-fd listeners",
        f"    hard-stop-after {longest + _HARD_STOP_MARGIN}s",
        f"    nbthread {min(_MOST_THREADS, os.cpu_count() or 1)}",
        f"    fd-hard-limit {_MOST_DESCRIPTORS}",
        # Else a second HAProxy could bind beside an orphan, and traffic would split silently.
        "    noreuseport",
        "defaults",
        "    mode http",
        # A client whose idle connection is closed by a reload would lose its next request.
        "    option idle-close-on-response",
        # An idle connection to an app may be closed by it just when a request is sent, and a POST may not be
        # tried again: so none is kept. A loopback connection costs less than a lost request.
        "    option http-server-close",
        f"    option redispatch {_REDISPATCH}",
        "    retry-on conn-failure",
        f"    retries {_RETRIES}",
        f"    timeout connect {_CONNECT_MS}ms",
        f"    timeout client {client}ms",
        f"    timeout server {server}ms",
        "    timeout tunnel 1d",
        # Else a tunnel that the app has closed stays as long as a client that is gone without a word.
        "    timeout client-fin 5s",
        # Browsers connect ahead of need; such a connection is closed without an answer that nobody asked for.
        "    option http-ignore-probes",
        f"    timeout http-request {_FIRST_REQUEST_MS}ms",
        f"    timeout http-keep-alive {_KEEP_ALIVE_MS}ms",
        f'    http-error status 503 content-type text/html string "{_NOTHING}" hdr Cache-Control no-store',
        "frontend front",
        f"    bind {settings.listen}",
        *_forwarding(settings),
        *(
            f"    use_backend app_{backend.app} if {{ req.hdr(host),field(1,:),lower -m str {domain.lower()} }}"
            for backend in backends
            for domain in backend.domains
        ),
        f"    default_backend {f'app_{default.app}' if default else 'unknown_host'}",
        "backend unknown_host",
        f'    http-request return status 404 content-type text/html string "{_UNKNOWN}"',
    ]
    for backend in backends:
        lines += _backend(backend, weights=weights)
    return "\n".join(lines) + "\n"


def _forwarding(settings: Settings) -> list[str]:
    """What proxies in front say of the client is kept from those that are trusted, and from nobody else."""
    trusted = (
        [f"    acl trusted src {' '.join(settings.trusted_proxies)}"] if settings.trusted_proxies else []
    )
    said = {"For": "%[src]", "Proto": "http", "Host": "%[req.hdr(Host)]"}
    return [
        *trusted,
        # All of them, -Port and -Prefix too: an app that believes one believes the others.
        f"    http-request del-header X-Forwarded- -m beg{' unless trusted' if trusted else ''}",
        f"    http-request del-header Forwarded{' unless trusted' if trusted else ''}",
        *(
            f"    http-request set-header X-Forwarded-{name} {value} if !{{ req.hdr(X-Forwarded-{name}) -m found }}"
            for name, value in said.items()
        ),
    ]


def _backend(backend: Backend, *, weights: bool) -> list[str]:
    return [
        f"backend app_{backend.app}",
        "    balance roundrobin",
        # A weight of 0 drains. `disabled` would be maintenance, which cuts and cannot be undone by a weight.
        *(
            f"    server {name} {server.endpoint}" + (f" weight {server.share}" if weights else "")
            for name, server in _named(backend)
        ),
    ]


def _named(backend: Backend) -> Iterator[tuple[str, Server]]:
    """Call the servers ``a0``, ``a1``, ``b0``: the slot, and the how manieth endpoint of it."""
    count: Counter[str] = Counter()
    for server in backend.servers:
        yield f"{server.slot}{count[server.slot]}", server
        count[server.slot] += 1
