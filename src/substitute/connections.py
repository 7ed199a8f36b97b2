"""Who is still connected to an instance, as the kernel knows it: for balancers that can't be asked."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from substitute import sock_diag
from substitute.sock_diag import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from substitute.core.slots import Endpoint

_OPEN = frozenset({State.SYN_RECV, State.ESTABLISHED, State.CLOSE_WAIT})
"""Where the instance may still have something to read or to say. In the others it has closed already, and what it
said is the kernel's to deliver. Connections that wait to be accepted are among them."""


def counted(endpoints: Iterable[Endpoint]) -> dict[Endpoint, int]:
    """How many connections each of `endpoints`, on this machine, has open; a kept-alive idle one counts.

    They are told apart by port alone: an instance may listen on more addresses than the one it is known by.
    Raises OSError where the kernel can't tell.
    """
    wanted = tuple(endpoints)
    open_ones = Counter(
        {port: sum(1 for _ in sock_diag.sockets(port, _OPEN)) for port in {e.port for e in wanted}}
    )
    return {endpoint: open_ones[endpoint.port] for endpoint in wanted}
