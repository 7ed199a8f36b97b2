"""HAProxy's configuration as text: what, not how."""

from __future__ import annotations

import hashlib
import ipaddress
import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Backend, Server

_CONNECT_MS, _RETRIES, _REDISPATCH = 500, 16, 3
"""A refused connection is tried again each half second, 16 times: new requests wait 8 s for a crashed instance.

Each third time at once, and at another server if one has a share: so a crashed candidate costs its requests a
second, and 5 s are left even where every server of an app crashed.
"""
_KEEP_ALIVE_MS = 75_300
"""As long as nginx. No whole seconds: who asks again each n seconds would always ask in the moment of the close."""
_FIRST_REQUEST_MS = 60_300
_MOST_DESCRIPTORS = 50000
"""About 24,000 clients at once. Without it a machine with a limit of millions has memory for as many reserved."""
_BUFFER = 80 << 10
"""Bytes for the headers of a request or of an answer: 64 KB of them, with what HAProxy keeps and adds beside them.
Only a request under way has buffers; a kept connection has none."""
_MOST_HEADERS = 1000
_MOST_THREADS = 4

_PURGE_MS = 100
"""How often HAProxy closes half of the connections to an app that it has not needed since the last time.

So an idle one is closed within a second, long before the app would close it.
"""
_PAUSE_MS = 100
"""Before a request is sent a second time. A process that was killed has closed its listening socket by then."""
_MOST_COPIES = 1000
"""Of requests under way, which HAProxy keeps so that it can send them again. Each takes `_BUFFER` bytes."""

MAP, FRONT = "haproxy.map", "haproxy-front.sock"
"""Which app a host name leads to, changed at run time; and where a worker that leaves sends requests on to."""
PAUSE, AGAIN = "haproxy-pause.sock", "haproxy-again.sock"
"""Where a request that got no answer on a kept connection waits, and where it then comes in a second time."""
KEPT = "_kept"
"""The end of the name of an app's second backend; no app's name has an underscore."""
_DEFAULT = "*"
"""The key in `MAP` of the app without domains; no host name can be that."""
NEWEST, EARLIER = "newest", "earlier"
"""The backend of a worker that leaves, and what still listens where `balancer.listen` was before."""

DRILL_HEADER, SLOT_HEADER = "X-Substitute-Drill", "X-Substitute-Slot"
"""Who asks with the first one is told by the second which slot has answered."""

_REPEATABLE = (
    "{ method GET HEAD OPTIONS } !{ req.hdr_val(content-length) gt 0 } !{ req.hdr(transfer-encoding) -m found }"
    " !{ req.hdr(upgrade) -m found }"
)
"""The requests that may be sent a second time: safe (RFC 9110, 9.2.1), without a body, no WebSocket.

PUT and DELETE are idempotent by the same RFC, but not in every app: the second DELETE is often answered with 404.
"""

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
    keep_connections: bool = True
    """Connections to the apps are kept for more requests, where these may be repeated."""


def hosts(backends: Sequence[Backend]) -> dict[str, str]:
    """What `MAP` holds: a backend for each domain, and for those that are nobody's."""
    default = next((backend for backend in backends if not backend.domains), None)
    found = {domain.lower(): _name(backend) for backend in backends for domain in backend.domains}
    return {**found, **({_DEFAULT: _name(default)} if default else {})}


def render_map(backends: Sequence[Backend]) -> str:
    """The file `MAP`."""
    return "".join(f"{host} {app}\n" for host, app in hosts(backends).items())


def structure(settings: Settings, backends: Sequence[Backend], earlier: Sequence[str] = ()) -> str:
    """A name for all that only a reload changes: not for weights, domains and addresses."""
    text = _render(settings, backends, earlier, description="", adjustable=False)
    return "substitute-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def render(settings: Settings, backends: Sequence[Backend], earlier: Sequence[str] = ()) -> str:
    """The whole file. A HAProxy that (re)starts from it serves by the shares in `backends`.

    It listens at the addresses `earlier` too.
    """
    named = structure(settings, backends, earlier)
    return _render(settings, backends, earlier, description=named, adjustable=True)


def _render(
    settings: Settings,
    backends: Sequence[Backend],
    earlier: Sequence[str],
    *,
    description: str,
    adjustable: bool,
) -> str:
    client, server = (round(1000 * t) for t in (settings.client_timeout, settings.server_timeout))
    lines = [
        "# Written by substitute; it is replaced at every switch.",
        "global",
        f"    description {description or 'none'}",
        "    stats socket /proc/self/cwd/haproxy.sock mode 600 level admin expose-fd listeners",
        f"    nbthread {min(_MOST_THREADS, os.cpu_count() or 1)}",
        f"    fd-hard-limit {_MOST_DESCRIPTORS}",
        f"    tune.bufsize {_BUFFER}",
        f"    tune.http.maxhdr {_MOST_HEADERS}",
        # Else a second HAProxy could bind beside an orphan, and traffic would split silently.
        "    noreuseport",
        "defaults",
        "    mode http",
        # A client whose idle connection is closed by a reload would lose its next request.
        "    option idle-close-on-response",
        # An idle connection to an app may be closed by it just when a request is sent, and a POST may not be
        # tried again: so none is kept. Backends whose name ends with `KEPT` are the exception.
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
        f"    bind unix@/proc/self/cwd/{FRONT} mode 600 accept-proxy",
        f"    bind unix@/proc/self/cwd/{AGAIN} mode 600 accept-proxy name again",
        "    no option http-server-close",
        *_forwarding(settings),
        f"    http-request set-var(txn.app) req.hdr(host),field(1,:),lower,map({MAP})",
        f"    http-request set-var(txn.app) str({_DEFAULT}),map({MAP}) if !{{ var(txn.app) -m found }}",
        # A worker that a reload has replaced can't be told anything any more, and keeps its clients: so it hands
        # their requests to the one that can.
        f"    use_backend {NEWEST} if {{ stopping }}",
        # While several servers share the requests, only the first backend keeps the proportion.
        f"    use_backend %[var(txn.app)]{KEPT} if {_REPEATABLE} !{{ so_name again }} {{ var(txn.app),nbsrv 1 }}",
        "    use_backend %[var(txn.app)] if { var(txn.app) -m found }",
        "    default_backend unknown_host",
        "listen pause",
        "    mode tcp",  # HAProxy delays no HTTP request that it has as a whole
        "    no option idle-close-on-response",
        "    no option http-ignore-probes",
        f"    bind unix@/proc/self/cwd/{PAUSE} mode 600",
        f"    tcp-request inspect-delay {_PAUSE_MS}ms",
        "    tcp-request content accept if WAIT_END",
        f"    server again unix@/proc/self/cwd/{AGAIN}",
        "backend unknown_host",
        f'    http-request return status 404 content-type text/html string "{_UNKNOWN}"',
        f"backend {NEWEST}",
        _to_the_front(),
    ]
    if earlier:
        lines += [f"listen {EARLIER}", *(f"    bind {address}" for address in earlier), _to_the_front()]
    for backend in backends:
        lines += _backend(backend, keep=settings.keep_connections, adjustable=adjustable)
    return "\n".join(lines) + "\n"


def _to_the_front() -> str:
    return f"    server front unix@/proc/self/cwd/{FRONT} send-proxy-v2"


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


def _backend(backend: Backend, *, keep: bool, adjustable: bool) -> list[str]:
    """Two of HAProxy's. The first opens a connection for each request, and repeats none. The second may keep them.

    Only the first has weights; the second looks at them for each request. So one weight governs both. A request that
    gets no answer in the second is sent once more, through the first, which also waits for an instance that crashed.
    """
    name = _name(backend)

    def server(named: str, endpoint: Endpoint, more: str) -> str:
        if adjustable:
            return f"    server {named} {endpoint} {more}"
        return f"    server {named} {'an address' if is_address(endpoint.host) else endpoint}"

    asked, drill = f"{{ req.hdr({DRILL_HEADER}) -m found }}", "{ var(txn.drill) -m bool }"
    return [
        f"backend {name}",
        "    balance roundrobin",
        # Here and not in front: a worker that leaves hands the request on with its header. The app never sees it.
        f"    http-request set-var(txn.drill) bool(true) if {asked} || {{ so_name again }}",
        f"    http-request del-header {DRILL_HEADER}",
        f"    http-response set-header {SLOT_HEADER} %[srv_name,bytes(0,1)] if {drill}",
        # A weight of 0 drains. `disabled` would be maintenance, which cuts and cannot be undone by a weight.
        *(server(one, each.endpoint, f"weight {each.share}") for one, each in named(backend)),
        f"backend {name}{KEPT}",
        "    balance roundrobin",
        f"    {'no ' if keep else ''}option http-server-close",
        f"    http-reuse {'always' if keep else 'never'}",
        f"    default-server pool-purge-delay {_PURGE_MS}ms",
        "    retry-on conn-failure empty-response",
        # The second try is the last, and goes where the weights lead: to `again`.
        "    option redispatch 1",
        "    retries 2",
        f"    http-request disable-l7-retry if {{ be_conn gt {_MOST_COPIES} }}",
        f"    http-request set-var(txn.drill) bool(true) if {asked}",
        f"    http-request del-header {DRILL_HEADER}",
        f"    http-response set-header {SLOT_HEADER} %[srv_name,bytes(0,1)] if {drill} !{{ srv_name again }}",
        f"    http-response del-header {SLOT_HEADER} if {{ srv_name again }} !{drill}",
        *(f"    use-server {one} if {{ srv_weight({name}/{one}) gt 0 }}" for one, _ in named(backend)),
        *(server(one, each.endpoint, "weight 0") for one, each in named(backend)),
        f"    server again unix@/proc/self/cwd/{PAUSE} send-proxy-v2 pool-max-conn 0",
    ]


def is_address(host: str) -> bool:
    """Whether it is no name: a running HAProxy takes another address, and no other name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def placed(backend: Backend) -> Iterator[tuple[tuple[str, str], Server]]:
    """Each of its servers in HAProxy, by the names of its backend and its own; with what it is to have there."""
    for name, server in named(backend):
        yield (_name(backend), name), server
        yield (_name(backend) + KEPT, name), replace(server, share=0)


def named(backend: Backend) -> Iterator[tuple[str, Server]]:
    """Call the servers ``a0``, ``a1``, ``b0``: the slot, and the how manieth endpoint of it."""
    count: Counter[str] = Counter()
    for server in backend.servers:
        yield f"{server.slot}{count[server.slot]}", server
        count[server.slot] += 1


def _name(backend: Backend) -> str:
    return f"app_{backend.app}"
