"""The names in HAProxy's file, and the files and sockets beside it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from substitute.core.model.slots import Endpoint, SlotName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.ports.balancer import Backend, Server

MAP = "haproxy.map"
"""The map from host name to app. It changes at run time."""
FRONT = "haproxy-front.sock"
"""The socket by which a worker that leaves passes a request to the newest one."""
PAUSE, AGAIN = "haproxy-pause.sock", "haproxy-again.sock"
"""Where a request that got no answer on a kept connection waits, and where it then comes in a second time."""
KEPT = "_kept"
"""The suffix of an app's second backend; no app's name has an underscore."""
ASSETS = "assets"
"""The backend that asks for an asset: by `whoever`, and after a 404 by `other`."""
LASTS = {slot: f"last_{slot}" for slot in SlotName}
ONWARD = {name: f"haproxy-{name.replace('_', '-')}.sock" for name in ("whoever", "other", *LASTS.values())}
"""One socket of the front for each attempt at an asset, by its name in the file: `whoever` (as any request), `other`
(the spare slot), and then `last_a` or `last_b` (the slot that is not spare)."""
OF_OTHER = {slot: f"_other_{slot}" for slot in SlotName}
"""The suffix of an app's backend that asks this slot for an asset as the spare one."""
OF_LAST = "_last"
"""The suffix of an app's backend that asks the slot for an asset that is not spare."""
NOBODYS = "*"
"""The key in `MAP` of the app without domains; no host name can be that."""
NEWEST, EARLIER = "newest", "earlier"
"""The backend of a worker that leaves, and what still listens where `balancer.listen` was before."""
RING = "recent"
"""What HAProxy keeps in memory of the requests that it has answered."""

PREVIEW_HEADER, PREVIEW_COOKIE, PREVIEW_PATH = (
    "X-Substitute-Preview",
    "substitute-preview",
    "/.substitute/preview/",
)
"""How somebody asks for a version that is held: with its token. The path sets the cookie, and leads on to ``/``."""
CANARY_HEADER = "X-Substitute-Canary"
"""A client that sends it gets the new version with ``yes``, and the live one with ``no``, while both have a share."""
CLIENT_COOKIE = "substitute"
"""A random name that a client gets while two versions share the requests, so that it stays with one of them."""
PREVIEWED, SHARED = ":preview:", ":share:"
"""What keys in `MAP` begin with that are no host names: those have no colon."""
WAIT, NOWHERE = "wait", Endpoint("127.0.0.1", 0)
"""The server that requests wait at, and its address: nobody can listen on port 0, so each connection is refused."""

DRILL_HEADER, SLOT_HEADER = "X-Substitute-Drill", "X-Substitute-Slot"
"""Who asks with the first one is told by the second which slot has answered."""

STREAM_MARK = 1
"""The niceness of WebSockets and event streams in HAProxy; that of others is 0."""


def of_backend(backend: Backend) -> str:
    """Its first backend; the name of its second one ends with `KEPT`."""
    return f"app_{backend.app}"


def of_servers(backend: Backend) -> Iterator[tuple[str, Server]]:
    """Call the servers ``a0``, ``a1``, ``b0``: the slot, and the index of the endpoint in it."""
    count: Counter[str] = Counter()
    for server in backend.servers:
        yield f"{server.slot}{count[server.slot]}", server
        count[server.slot] += 1
