"""The sections of HAProxy's file, as lines of text."""

from __future__ import annotations

import ipaddress
import os
from collections import Counter
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING

from substitute.balancers.haproxy import checks, clients, log_format
from substitute.balancers.haproxy.names import (
    AGAIN,
    DRILL_HEADER,
    EARLIER,
    FRONT,
    KEPT,
    MAP,
    NEWEST,
    NOBODYS,
    NOWHERE,
    ONWARD,
    PAUSE,
    SLOT_HEADER,
    STREAM_MARK,
    WAIT,
    of_backend,
    of_servers,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from substitute.balancers.haproxy.settings import Settings
    from substitute.core.model.slots import Endpoint, SlotName
    from substitute.core.ports.balancer import Backend

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
_WAIT_MS = 200
"""How often a request that waits for a version looks whether there is one. A thousand of them took 22 % of a slow
processor."""
_RETRY_AFTER = 5
"""Seconds that a client is told to wait, whose request has waited in vain."""
MOST_COPIES = 1000
"""Of requests under way, which HAProxy keeps so that it can send them again. Each takes `_BUFFER` bytes."""

REPEATABLE = (
    "{ method GET HEAD OPTIONS } !{ req.hdr_val(content-length) gt 0 } !{ req.hdr(transfer-encoding) -m found }"
    " !{ req.hdr(upgrade) -m found }"
)
"""The requests that may be sent a second time: safe (RFC 9110, 9.2.1), without a body, no WebSocket.

PUT and DELETE are idempotent by the same RFC, but not in every app: the second DELETE is often answered with 404.
"""

_ASKED, _DRILL = f"{{ req.hdr({DRILL_HEADER}) -m found }}", "{ var(txn.drill) -m bool }"

_PAGE = (
    "<!doctype html><meta charset=utf-8><title>{title}</title>"
    "<body style='font:16px system-ui;margin:4em auto;max-width:32em'><h1>{title}</h1><p>{text}</p>"
)
_NOTHING = _PAGE.format(title="Service unavailable", text="No version of this app is serving at the moment.")
_CHANGING = _PAGE.format(
    title="Back in a moment", text="This app is not available now. Please try again in a few seconds."
)
_UNKNOWN = _PAGE.format(title="Not found", text="No app is configured for this host name.")


def for_all(settings: Settings, description: str) -> list[str]:
    """What holds for the process, and what for every section below."""
    return [*_process(description), *log_format.ring(), *_defaults(settings)]


def _process(description: str) -> list[str]:
    return [
        "global",
        f"    description {description}",
        "    stats socket /proc/self/cwd/haproxy.sock mode 600 level admin expose-fd listeners",
        f"    nbthread {min(_MOST_THREADS, os.cpu_count() or 1)}",
        f"    fd-hard-limit {_MOST_DESCRIPTORS}",
        f"    tune.bufsize {_BUFFER}",
        f"    tune.http.maxhdr {_MOST_HEADERS}",
        # Else a second HAProxy could bind beside an orphan, and traffic would split silently.
        "    noreuseport",
        *log_format.salt(),
    ]


def _defaults(settings: Settings) -> list[str]:
    client, server = (round(1000 * t) for t in (settings.client_timeout, settings.server_timeout))
    return [
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
    ]


def front(settings: Settings, backends: Sequence[Backend], assets: Iterable[str]) -> list[str]:
    """Where clients come in: whose request it is, and whether it may use a kept connection.

    `assets` are the rules for those.
    """
    return [
        "frontend front",
        f"    bind {settings.listen}",
        f"    bind unix@/proc/self/cwd/{FRONT} mode 600 accept-proxy",
        f"    bind unix@/proc/self/cwd/{AGAIN} mode 600 accept-proxy name again",
        *(
            f"    bind unix@/proc/self/cwd/{socket} mode 600 accept-proxy name {name}"
            for name, socket in ONWARD.items()
        ),
        "    no option http-server-close",
        *_forwarding(settings),
        *log_format.logging(),
        f"    http-request set-var(txn.app) req.hdr(host),field(1,:),lower,map({MAP})",
        f"    http-request set-var(txn.app) str({NOBODYS}),map({MAP}) if !{{ var(txn.app) -m found }}",
        # A worker that a reload has replaced can't be told anything any more, and keeps its clients: so it hands
        # their requests to the one that can.
        f"    use_backend {NEWEST} if {{ stopping }}",
        *clients.previews(f"{REPEATABLE} !{{ so_name again }}"),
        *assets,
        *_waiting(backends),
        f"    use_backend %[var(txn.app)]{KEPT} if {REPEATABLE} !{{ so_name again }} {{ var(txn.app),nbsrv gt 0 }}",
        "    use_backend %[var(txn.app)] if { var(txn.app) -m found }",
        "    default_backend unknown_host",
    ]


def _waiting(backends: Sequence[Backend]) -> list[str]:
    """Apps whose requests wait: the backend that keeps connections would not know where to wait."""
    return [
        f"    use_backend {app} if {{ var(txn.app) -m str {app} }} {{ srv_weight({app}/{WAIT}) gt 0 }}"
        for app in (of_backend(each) for each in backends if each.hold and not checks.among(each))
    ]


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


def pause() -> list[str]:
    """Where a request waits that comes in a second time: HAProxy delays no HTTP request that it has as a whole."""
    return [
        "listen pause",
        "    mode tcp",
        "    no option idle-close-on-response",
        "    no option http-ignore-probes",
        f"    bind unix@/proc/self/cwd/{PAUSE} mode 600",
        f"    tcp-request inspect-delay {_PAUSE_MS}ms",
        "    tcp-request content accept if WAIT_END",
        f"    server again unix@/proc/self/cwd/{AGAIN}",
    ]


def fallbacks(earlier: Sequence[str]) -> list[str]:
    """Where requests go that are for no known app, that an old worker hands on, or that come by an old address."""
    to_the_front = f"    server front unix@/proc/self/cwd/{FRONT} send-proxy-v2"
    lines = [
        "backend unknown_host",
        f'    http-request return status 404 content-type text/html string "{_UNKNOWN}"',
        f"backend {NEWEST}",
        to_the_front,
    ]
    if earlier:
        lines += [f"listen {EARLIER}", *(f"    bind {address}" for address in earlier), to_the_front]
    return lines


def backend_without_reuse(backend: Backend, *, adjustable: bool) -> list[str]:
    """The backend that opens a connection for each request, and repeats none. Its servers have the weights."""
    return [
        f"backend {of_backend(backend)}",
        *checks.balance(backend),
        *checks.kept_alive(backend),
        *telling(name="again"),
        *clients.staying(backend),
        *_marking(),
        # A weight of 0 drains. `disabled` would be maintenance, which cuts and cannot be undone by a weight.
        *(
            server(name, each.endpoint, each.share, checks.watched(each), adjustable=adjustable)
            for name, each in of_servers(backend)
        ),
        *_hold(backend, adjustable=adjustable),
    ]


def _hold(backend: Backend, *, adjustable: bool) -> list[str]:
    """Where requests wait while no server has a weight, and what they get past their time.

    Each tries again and again to connect where nobody can listen; nothing of it is sent, so a POST may wait as well.
    Each try looks at the weights anew.
    """
    if not backend.hold:
        return waiting(waits=checks.waits(backend), adjustable=adjustable) if checks.among(backend) else []
    every = _CONNECT_MS if checks.among(backend) else _WAIT_MS
    headers = f"hdr Cache-Control no-store hdr Retry-After {_RETRY_AFTER}"
    without_a_port, wait = waiting(waits=checks.waits(backend), adjustable=adjustable)
    return [
        f"    retries {max(round(1000 * backend.hold / every), 1)}",
        f"    timeout connect {every}ms",
        f"    option redispatch {checks.TRIES if checks.among(backend) else 1}",
        without_a_port,
        f'    http-error status 503 content-type text/html string "{_CHANGING}" {headers}',
        wait,
    ]


def waiting(*, waits: bool, adjustable: bool) -> list[str]:
    """A server that refuses every connection. Requests are retried against it until a version has a share."""
    return [
        # An address without a port means the client's port.
        "    http-request set-dst-port int(0)",
        server(WAIT, NOWHERE, int(waits), " backup" if adjustable else "", adjustable=adjustable),
    ]


def backend_with_reuse(backend: Backend, *, keep: bool, adjustable: bool) -> list[str]:
    """The backend that keeps connections, where it may. It looks at the weights of the other one for each request.

    So one weight governs both. A request that gets no answer here is sent once more, through the other one, which
    also waits for an instance that crashed.
    """
    return [
        f"backend {of_backend(backend)}{KEPT}",
        "    balance roundrobin",
        f"    {'no ' if keep else ''}option http-server-close",
        f"    http-reuse {'always' if keep else 'never'}",
        f"    default-server pool-purge-delay {_PURGE_MS}ms",
        "    retry-on conn-failure empty-response",
        # The second try is the last, and goes where the weights lead: to `again`.
        "    option redispatch 1",
        "    retries 2",
        f"    http-request disable-l7-retry if {{ be_conn gt {MOST_COPIES} }}",
        *checks.kept_alive(backend),
        *passing_on(to="again"),
        *_marking(),
        *clients.staying(backend, unless_by="again"),
        *choice(backend, f"srv_weight({of_backend(backend)}/{{}}) gt 0"),
        *(
            server(name, each.endpoint, 0, checks.following(backend, name, each), adjustable=adjustable)
            for name, each in of_servers(backend)
        ),
        f"    server again unix@/proc/self/cwd/{PAUSE} send-proxy-v2 pool-max-conn 0",
    ]


def _marking() -> list[str]:
    """A mark on streams, that ``show sess`` shows: it is no weight to speak of, among 1024.

    A client comes back for a GET when its answer ends early, which no one does for a POST.
    """
    of_events = "{ method GET } { res.hdr(content-type) -m beg text/event-stream }"
    return [f"    http-response set-nice {STREAM_MARK} if {{ status 101 }} || {of_events}"]


def telling(*, name: str) -> list[str]:
    """Who asked is told the slot; so is the backend that has sent it on here, by the socket called `name`."""
    return [
        # Here and not in front: a worker that leaves hands the request on with its header. The app never sees it.
        f"    http-request set-var(txn.drill) bool(true) if {_ASKED} || {{ so_name {name} }}",
        f"    http-request del-header {DRILL_HEADER}",
        f"    http-response set-header {SLOT_HEADER} %[srv_name,bytes(0,1)] if {_DRILL}",
    ]


def passing_on(*, to: str) -> list[str]:
    """As `telling`, in a backend that may send the request on to its server `to`."""
    return [
        f"    http-request set-var(txn.drill) bool(true) if {_ASKED}",
        f"    http-request del-header {DRILL_HEADER}",
        f"    http-response set-header {SLOT_HEADER} %[srv_name,bytes(0,1)] if {_DRILL} !{{ srv_name {to} }}",
        f"    http-response del-header {SLOT_HEADER} if {{ srv_name {to} }} !{_DRILL}",
    ]


def _of(condition: str, of: SlotName | None, name: str, slot: SlotName) -> str:
    return condition.format(name) if of in {None, slot} else ""


def choice(backend: Backend, condition: str, *, of: SlotName | None = None) -> list[str]:
    """Of the endpoints of a slot that fulfils it any by chance, each as often as the others; else any that does.

    Only those `of` a slot, where it is named.
    """
    if checks.among(backend):
        meant = partial(_of, condition, of)
        return [*checks.drawn(backend, meant, unless="txn.slot")]
    left, found = Counter(server.slot for server in backend.servers), []
    for name, server in of_servers(backend):
        if of not in {None, server.slot}:
            continue
        rule = f"    use-server {name} if {{ {condition.format(name)} }}"
        found.append((left[server.slot], rule))
        left[server.slot] -= 1
    by_chance = [f"{rule} {{ rand({number}) eq 0 }}" for number, rule in found if number > 1]
    return [*by_chance, *(rule for _, rule in sorted(found, key=itemgetter(0)))]


def server(name: str, endpoint: Endpoint, weight: int, more: str = "", *, adjustable: bool) -> str:
    """The line of an endpoint; of what is `adjustable` at run time, only that it is there."""
    if adjustable:
        return f"    server {name} {endpoint} weight {weight}{more}"
    return f"    server {name} {'an address' if is_address(endpoint.host) else endpoint}{more}"


def is_address(host: str) -> bool:
    """Whether it is no name: a running HAProxy takes another address, and no other name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
