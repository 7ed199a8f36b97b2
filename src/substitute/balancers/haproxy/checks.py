"""The lines of HAProxy's file about servers on other machines, which may go without a word.

HAProxy opens a connection to each again and again, and passes over those where none comes about. One backend of an app
does so for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.balancers.haproxy.names import of_backend, of_servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from substitute.core.model.slots import SlotName
    from substitute.core.ports.balancer import Backend, Server

INTERVAL, IN_DOUBT, TWICE = 0.5, 0.1, 2
"""Seconds between two looks at a server; and where the last one was a surprise: it has to be seen twice.

A machine that is gone answers nothing, not even that nobody listens: a look takes half a second then.
"""
TRIES = 2
"""Of a request at a server, one after the other, before it is tried at another one."""
_UNANSWERED, _UNANSWERED_ONCE = 2, 30
"""Seconds after which a connection ends whose machine has acknowledged nothing.

The kernel ends one as well whose app has read nothing for that long: that may be an app that is busy, with an upload
before it. So the first is only for requests that have no body; what has one can't be repeated, and to hurry is no use.
"""
_ALIVE_IDLE, _ALIVE_INTERVAL, _ALIVE_COUNT = 1, 1, 2
"""While an answer is awaited: the machine is asked each second whether it is there."""


def among(backend: Backend) -> bool:
    """Whether any of its servers is looked at."""
    return any(server.checked for server in backend.servers)


def waits(backend: Backend) -> bool:
    """Whether its requests wait when no server can have them: while all that have a share do not answer, too."""
    return backend.waits or (among(backend) and any(server.share for server in backend.servers))


def watched(server: Server) -> str:
    """The end of its line in the backend that looks at it, and which repeats no request."""
    if not server.checked:
        return ""
    often = f"inter {round(1000 * INTERVAL)}ms fastinter {round(1000 * IN_DOUBT)}ms"
    return f" check {often} fall {TWICE} rise {TWICE} tcp-ut {_UNANSWERED_ONCE}s"


def following(backend: Backend, name: str, server: Server) -> str:
    """The end of its line in another backend."""
    return f" track {of_backend(backend)}/{name} tcp-ut {_UNANSWERED}s" if server.checked else ""


def kept_alive(backend: Backend) -> list[str]:
    """Lines of each of its backends."""
    if not among(backend):
        return []
    return [
        "    option srvtcpka",
        f"    srvtcpka-idle {_ALIVE_IDLE}s",
        f"    srvtcpka-intvl {_ALIVE_INTERVAL}s",
        f"    srvtcpka-cnt {_ALIVE_COUNT}",
    ]


def balance(backend: Backend) -> list[str]:
    """How one of its backends that tries again chooses a server.

    HAProxy pauses only before it tries the same one again. Where all refuse, it would soon have tried all of them in
    vain without any pause: so each is tried twice. It obeys that only where a hash chooses: here, of a random number.
    """
    if not among(backend):
        return ["    balance roundrobin"]
    return [
        "    balance hash rand",
        "    hash-type consistent sdbm avalanche",
        f"    option redispatch {TRIES}",
    ]


def drawn(backend: Backend, condition: Callable[[str, SlotName], str], *, unless: str = "") -> Iterator[str]:
    """Of the servers that fulfil it and are there any by chance, each as often as the others.

    An empty condition is never fulfilled. None is drawn where the variable `unless` is set.

    One after the other takes the place of the one that was chosen so far, with a chance of 1 to their number.
    """
    yield "    http-request set-var(txn.there) int(0)"
    so = f" !{{ var({unless}) -m found }}" if unless else ""
    for name, server in of_servers(backend):
        if fulfils := condition(name, server.slot):
            usable = f"{{ {fulfils} }} {{ srv_is_up({of_backend(backend)}/{name}) }}{so}"
            yield f"    http-request set-var(txn.there) var(txn.there),add(1) if {usable}"
            chance = "{ rand,mod(txn.there) -m int 0 }"
            yield f"    http-request set-var(txn.server) str({name}) if {usable} {chance}"
    yield "    use-server %[var(txn.server)] if { var(txn.server) -m found }"
