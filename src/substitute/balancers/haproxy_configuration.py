"""HAProxy's configuration as text: what, not how."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.ports import Backend

_CONNECT_MS, _RETRIES = 500, 14
"""A refused connection is tried again each half second, 14 times: new requests wait 7 s for a crashed instance."""
_HARD_STOP_MARGIN = 5
_MOST_THREADS = 4

_PAGE = (
    "<!doctype html><meta charset=utf-8><title>{title}</title>"
    "<body style='font:16px system-ui;margin:4em auto;max-width:32em'><h1>{title}</h1><p>{text}</p>"
)
_NOTHING = _PAGE.format(title="Service unavailable", text="No version of this app answers at the moment.")
_UNKNOWN = _PAGE.format(title="Not found", text="No app is configured for this host name.")


@dataclass(frozen=True)
class Settings:
    """The table ``[balancer]``, as far as HAProxy needs it. Times are seconds."""

    listen: str
    binary: str | None
    client_timeout: float
    server_timeout: float
    trusted_proxies: tuple[str, ...]


def server_name(slot: str, index: int) -> str:
    """``a0``: the first endpoint of slot a."""
    return f"{slot}{index}"


def backend_name(app: str) -> str:
    """``app_shop``."""
    return f"app_{app}"


def hard_stop(backends: Sequence[Backend]) -> int:
    """Seconds after which a worker that was replaced ends, whatever it still does."""
    return int(max((backend.drain_timeout for backend in backends), default=0)) + _HARD_STOP_MARGIN


def structure(settings: Settings, backends: Sequence[Backend]) -> str:
    """A name for everything but the weights: as long as it is the same, no reload is needed."""
    text = _render(settings, backends, description="", weights=False)
    return "substitute-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def render(settings: Settings, backends: Sequence[Backend]) -> str:
    """The whole file. A HAProxy that (re)starts from it serves by the shares in `backends`."""
    return _render(settings, backends, description=structure(settings, backends), weights=True)


def _render(settings: Settings, backends: Sequence[Backend], *, description: str, weights: bool) -> str:
    client, server = (round(1000 * t) for t in (settings.client_timeout, settings.server_timeout))
    default = next((backend for backend in backends if not backend.domains), None)
    lines = [
        "# Written by substitute; it is replaced at every switch.",
        "global",
        f"    description {description or 'none'}",
        "    stats socket /proc/self/cwd/haproxy.sock mode 600 level admin expose-fd listeners",
        f"    hard-stop-after {hard_stop(backends)}s",
        f"    nbthread {min(_MOST_THREADS, os.cpu_count() or 1)}",
        # Else a second HAProxy could bind beside an orphan, and traffic would split silently.
        "    noreuseport",
        "defaults",
        "    mode http",
        # A client whose idle connection is closed by a reload would lose its next request.
        "    option idle-close-on-response",
        # An idle connection to an app may be closed by it just when a request is sent, and a POST may not be
        # tried again: so none is kept. A loopback connection costs less than a lost request.
        "    option http-server-close",
        "    option redispatch",
        "    retry-on conn-failure",
        f"    retries {_RETRIES}",
        f"    timeout connect {_CONNECT_MS}ms",
        f"    timeout client {client}ms",
        f"    timeout server {server}ms",
        "    timeout tunnel 1d",
        "    timeout http-request 60s",
        "    timeout http-keep-alive 5s",
        f'    http-error status 503 content-type text/html string "{_NOTHING}"',
        "frontend front",
        f"    bind {settings.listen}",
        *_forwarding(settings),
        *(
            f"    use_backend {backend_name(backend.app)} if {{ req.hdr(host),field(1,:),lower -m str {domain} }}"
            for backend in backends
            for domain in backend.domains
        ),
        f"    default_backend {backend_name(default.app) if default else 'unknown_host'}",
        "backend unknown_host",
        f'    http-request return status 404 content-type text/html string "{_UNKNOWN}"',
    ]
    for backend in backends:
        lines += _backend(backend, weights=weights)
    return "\n".join(lines) + "\n"


def _forwarding(settings: Settings) -> list[str]:
    """What proxies in front say of the client is kept only from those that are trusted."""
    trusted = (
        [f"    acl trusted src {' '.join(settings.trusted_proxies)}"] if settings.trusted_proxies else []
    )
    unless = " unless trusted" if trusted else ""
    return [
        *trusted,
        *(f"    http-request del-header X-Forwarded-{name}{unless}" for name in ("For", "Proto", "Host")),
        "    http-request set-header X-Forwarded-Proto http unless { req.hdr(X-Forwarded-Proto) -m found }",
        "    http-request set-header X-Forwarded-Host %[req.hdr(Host)] unless { req.hdr(X-Forwarded-Host) -m found }",
        "    option forwardfor",
    ]


def _backend(backend: Backend, *, weights: bool) -> list[str]:
    lines = [f"backend {backend_name(backend.app)}", "    balance roundrobin"]
    count: dict[str, int] = {}
    for server in backend.servers:
        index = count.get(server.slot, 0)
        count[server.slot] = index + 1
        # A weight of 0 drains. `disabled` would be maintenance, which cuts and cannot be undone by a weight.
        weight = f" weight {server.share}" if weights else ""
        lines.append(f"    server {server_name(server.slot, index)} {server.endpoint}{weight}")
    return lines
