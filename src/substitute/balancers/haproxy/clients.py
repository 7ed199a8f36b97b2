"""The lines of HAProxy's file by which a client gets a certain version: for a preview, or since it met that one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.balancers.haproxy import checks
from substitute.balancers.haproxy.log_format import CHOSEN, NEW
from substitute.balancers.haproxy.names import (
    CANARY_HEADER,
    CLIENT_COOKIE,
    KEPT,
    MAP,
    PREVIEW_COOKIE,
    PREVIEW_HEADER,
    PREVIEW_PATH,
    PREVIEWED,
    SHARED,
    of_backend,
    of_servers,
)
from substitute.core.model.slots import SlotName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from substitute.core.ports.balancer import Backend


_ATTRIBUTES = "Path=/; HttpOnly; SameSite=Lax"
OVER = "This preview is over: the version was promoted or aborted."


def previews(repeatable: str) -> list[str]:
    """Who names the token of a preview, by header, by cookie or in a link; the link sets the cookie.

    What is `repeatable` goes to the backend that keeps connections.
    """
    some, found = f"{{ str({PREVIEWED}),map({MAP}) -m found }}", "{ var(txn.preview) -m found }"
    linked, slot = f"{{ path_beg {PREVIEW_PATH} }}", f"str({PREVIEWED}),concat(,txn.token),map({MAP})"
    cookie = f'"{PREVIEW_COOKIE}=%[var(txn.token)]; {_ATTRIBUTES}" hdr Cache-Control no-store'
    asked = {
        f"req.hdr({PREVIEW_HEADER})": some,
        f"req.cook({PREVIEW_COOKIE})": f"{some} !{{ var(txn.token) -m found }}",
        f"path,field({PREVIEW_PATH.count('/') + 1},/)": f"{some} {linked}",
    }
    return [
        *(f"    http-request set-var(txn.token) {said} if {when}" for said, when in asked.items()),
        f"    http-request set-var(txn.preview) {slot} if {{ var(txn.token) -m found }}",
        f"    http-request return status 302 hdr Location / hdr Set-Cookie {cookie} if {linked} {found}",
        # Not the live version, which whoever follows an old link would take for the new one.
        f'    http-request return status 404 content-type text/plain string "{OVER}" if {linked}',
        f"    use_backend %[var(txn.app)]{KEPT} if {found} {repeatable}",
        f"    use_backend %[var(txn.app)] if {found}",
    ]


def staying(backend: Backend, *, unless_by: str = "") -> list[str]:
    """Who previews a slot gets it; and while both share the requests, each client stays with one of them.

    A client is drawn by a hash of its name, which a cookie keeps: when the share of a new version grows, those who
    have met it stay with it, and some of the others come to it. Whom the server `unless_by` answered was named there.
    """
    here = f" !{{ srv_name {unless_by} }}" if unless_by else ""
    name, cookie = of_backend(backend), f'"{CLIENT_COOKIE}=%[var(txn.named)]; {_ATTRIBUTES}"'
    shared, unknown = "{ var(txn.shared) -m found }", "!{ var(txn.named) -m found }"
    drawn = "var(txn.shared),field(1,:),concat(:,txn.named),xxh32,mod(100)"
    lines = [
        f"    http-request set-var(txn.shared) str({SHARED}{name}),map({MAP})",
        f"    http-request set-var(txn.named) req.cook({CLIENT_COOKIE}) if {shared}",
        f"    http-request set-var(txn.unknown) bool(true) if {shared} {unknown}",
        f"    http-request set-var(txn.named) uuid() if {shared} {unknown}",
        # The log knows the client by it from the first request on.
        f"    http-request set-var(txn.client) var(txn.named) if {shared}",
        f"    http-request set-var(txn.drawn) {drawn} if {shared}",
        f"    http-request set-var(txn.below) var(txn.shared),field(2,:),sub(txn.drawn) if {shared}",
        f"    http-response add-header Set-Cookie {cookie} if {{ var(txn.unknown) -m bool }}{here}",
        f"    http-request set-var(txn.mark) str({NEW}) if {{ var(txn.unknown) -m bool }}",
        # The log tells who is here by its own choice, and is not to be compared with those whom chance has sent.
        f"    http-request set-var(txn.mark) str({CHOSEN}) if {{ var(txn.preview) -m beg {name}/ }}",
    ]
    for slot in SlotName:
        new = f"{{ var(txn.shared),field(3,:) -m str {slot} }} {{ req.hdr({CANARY_HEADER}) -i -m str"
        lines += [
            f"    http-request set-var(txn.mark) str({CHOSEN}) if {new} yes no }}",
            f"    http-request set-var(txn.below) int({int(slot is SlotName.B)}) if {new} yes }}",
            f"    http-request set-var(txn.below) int({int(slot is SlotName.A)}) if {new} no }}",
        ]
    of = {SlotName.A: "{ var(txn.below) -m int le 0 }", SlotName.B: "{ var(txn.below) -m int gt 0 }"}
    if checks.among(backend):
        return [*lines, *_of_slot(backend, of)]
    previewed, drawn_to = [], []
    for slot in SlotName:
        mine = [server for server, each in of_servers(backend) if each.slot is slot]
        for left, server in zip(range(len(mine), 0, -1), mine, strict=True):
            chance = f" {{ rand({left}) eq 0 }}" if left > 1 else ""
            previewed.append(
                f"    use-server {server} if {{ var(txn.preview) -m str {name}/{slot} }}{chance}"
            )
            drawn_to.append(
                f"    use-server {server} if {of[slot]} {{ srv_weight({name}/{server}) gt 0 }}{chance}"
            )
    return [*lines, *previewed, *drawn_to]


def _of_slot(backend: Backend, drawn: Mapping[SlotName, str]) -> Iterator[str]:
    """The same where not all servers are there: one that is, of the slot that it is to be."""
    name = of_backend(backend)
    firsts = {server.slot: server_name for server_name, server in reversed([*of_servers(backend)])}
    for slot in SlotName:
        yield f"    http-request set-var(txn.slot) str({slot}) if {{ var(txn.preview) -m str {name}/{slot} }}"
    unset = "!{ var(txn.slot) -m found }"
    for slot, first in firsts.items():
        has_share = f"{{ srv_weight({name}/{first}) gt 0 }}"
        yield f"    http-request set-var(txn.slot) str({slot}) if {unset} {drawn[slot]} {has_share}"
    yield from checks.drawn(backend, lambda _, slot: f"var(txn.slot) -m str {slot}")
