"""Who is still connected to an instance, as the kernel knows it: for balancers that can't be asked."""

from __future__ import annotations

import socket
from collections import Counter
from typing import TYPE_CHECKING

from substitute.core.model.errors import UnobservedError
from substitute.core.polling import wait_until
from substitute.core.ports.prober import Connected
from substitute.linux import sock_diag
from substitute.linux.listeners import WILDCARDS
from substitute.linux.sock_diag import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from substitute.core.model.slots import Endpoint

LED_BIT = 0x8000
"""Connections that the gate leads elsewhere come from the client's port with this bit flipped: a range of their own.
In the client's own they would meet sockets in TIME_WAIT of connections that came directly, and a SYN that does is
answered a second late."""
SPARE_ADDRESS = "127.0.0.3"
"""What led connections within loopback come from instead, where clients use the whole range of ports."""

_PATIENCE = 2.0
_TICK = 0.005
_OPEN = frozenset({State.SYN_RECV, State.ESTABLISHED, State.CLOSE_WAIT})
"""Where the instance may still have something to read or to say. In the others it has closed already, and what it
said is the kernel's to deliver. Connections that wait to be accepted are among them."""
_KNOWN = frozenset(State) - {State.LISTEN, State.CLOSE, State.SYN_SENT}
_TAKEN = _OPEN | {State.FIN_WAIT1, State.FIN_WAIT2}
"""Also where the instance closed at once, as long as its client does not."""


def counted(endpoints: Iterable[Endpoint]) -> dict[Endpoint, int]:
    """How many connections each of `endpoints`, on this machine, has open; a kept-alive idle one counts.

    They are told apart by port alone: an instance may listen on more addresses than the one it is known by.
    Raises UnobservedError where the kernel does not tell.
    """
    wanted = tuple(endpoints)
    try:
        open_ones = Counter(
            {port: sum(1 for _ in sock_diag.sockets(port, _OPEN)) for port in {e.port for e in wanted}}
        )
    except OSError as error:
        raise UnobservedError("The kernel does not report who is connected.", fact=str(error)) from error
    return {endpoint: open_ones[endpoint.port] for endpoint in wanted}


def connected(port: int) -> Connected:
    """Who is or was connected to `port` of this machine. Raises OSError where the kernel does not tell."""
    here = list(sock_diag.sockets(port, _KNOWN))
    there = [
        seen
        for seen in sock_diag.sockets(port, _KNOWN, of_peer=True)
        if seen.remote.host == seen.local.host or seen.remote.host.startswith("127.")  # no other machine
    ]
    return Connected(
        frozenset(seen.remote for seen in here) | frozenset(seen.local for seen in there),
        sum(1 for seen in here if seen.state in {State.SYN_RECV, State.ESTABLISHED}),
    )


def led_to(endpoints: Iterable[Endpoint], *, flipped: bool) -> bool:
    """Whether a connection that the gate led is open at one of `endpoints`: it shows by where it comes from."""
    return any(
        seen.remote.port < LED_BIT if flipped else seen.remote.host == SPARE_ADDRESS
        for port in {endpoint.port for endpoint in endpoints}
        for seen in sock_diag.sockets(port, _OPEN)
    )


def arrives_at(endpoint: Endpoint, ports: Iterable[int]) -> int | None:
    """Connect to `endpoint` as a client would, and look which of `ports` of this machine got the connection.

    0 where it was none of them; None where nobody accepted it, so that nothing can be said.
    """
    host = WILDCARDS.get(endpoint.host, endpoint.host)
    candidates = tuple(ports)
    # Somebody else's connection may have the port that ours is given, or its led counterpart.
    earlier = {(port, seen.remote) for port in candidates for seen in sock_diag.sockets(port, _TAKEN)}
    try:
        connection = socket.create_connection((host, endpoint.port), timeout=_PATIENCE)
    except OSError:
        return None
    with connection:
        own = connection.getsockname()[1]

        def has_it(port: int) -> bool:
            expected = {own} if port == endpoint.port else {own, own ^ LED_BIT}
            seen = {one.remote for one in sock_diag.sockets(port, _TAKEN) if one.remote.port in expected}
            return any((port, remote) not in earlier for remote in seen)

        return wait_until(lambda: next(filter(has_it, candidates), 0), _PATIENCE, _TICK)
