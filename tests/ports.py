"""Ports for what the tests start."""

from __future__ import annotations

import os
import random
import socket
from contextlib import ExitStack, suppress

_QUIET: tuple[int, ...] = (*range(28232, 32768), *range(61000, 65500))
"""Neither in the range that the kernel takes the ports of outgoing connections from (32768 to 60999), nor where the
gate moves those: a port that is free now is not some client's in the moment before the app binds it."""


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_OURS = _QUIET[_WORKER::_WORKERS]
"""Workers share one network, but no port."""

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, and that was not given before: its app may not have bound it yet."""
    while True:
        if len(_given) > len(_OURS) // 2:
            _given.clear()
        port = random.choice(_OURS)  # noqa: S311  # no secret
        if port in _given:
            continue
        # Who connects must arrive: a run that was killed may have left a gate that redirects the port.
        with (
            suppress(OSError),
            socket.create_server(("127.0.0.1", port)),
            socket.create_connection(("127.0.0.1", port), timeout=1.0),
        ):
            _given.add(port)
            return port


def free_ports(count: int) -> int:
    """The first of `count` ports one after the other, as `free_port` finds each."""
    while True:
        first = random.choice(_OURS)  # noqa: S311  # no secret
        wanted = range(first, first + count)
        if any(port in _given or port not in _QUIET for port in wanted):
            continue
        with ExitStack() as held, suppress(OSError):
            for port in wanted:
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            _given.update(wanted)
            return first
