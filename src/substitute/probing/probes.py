"""Asks endpoints from outside, as a client would."""

from __future__ import annotations

import socket
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from substitute.core.ports.prober import Answer
from substitute.http.failures import FailedError
from substitute.linux.listeners import WILDCARDS
from substitute.linux.probe_group import PROBE_MARK
from substitute.probing.requests import ask
from substitute.probing.side_by_side import side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.model.health import Health
    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.prober import Page

_LONGEST = 5.0
"""Seconds that one probe may take, however long the health check as a whole may."""
_ETHERNET, _LITTLE = 1460, 2048
"""Bytes of a segment and of a receive buffer: as between machines, and as small as it can be."""


def probe(endpoint: Endpoint, health: Health) -> Answer:
    """Ask once, as `health` says. Never raises."""
    limit = min(health.timeout, _LONGEST)
    try:
        with closing(connect(endpoint, limit)) as connection:
            if health.kind == "tcp":
                return Answer(good=True, seen="connected")
            return ask(connection, endpoint, health, limit).judged(health)
    except (OSError, FailedError, ValueError) as error:
        return Answer(good=False, seen=_words(error, limit))


def fetch(endpoint: Endpoint, path: str, health: Health, *, limit: float) -> Answer:
    """Ask for `path` with the headers of `health`, and take the whole answer, for `limit` seconds. Never raises."""
    began = time.monotonic()
    try:
        with closing(connect(endpoint, limit)) as connection:
            seen = ask(connection, endpoint, health, limit, path=path, whole=True)
    except (OSError, FailedError, ValueError) as error:
        return Answer(good=False, seen=_words(error, limit), seconds=time.monotonic() - began)
    return Answer(
        good=seen.whole,
        seen=seen.told if seen.whole else f"{seen.told}, cut off after {limit:g} s",
        status=seen.head.status,
        seconds=time.monotonic() - began,
    )


def fetch_all(pages: Sequence[Page], *, at_once: int, limit: float, within: float) -> Sequence[Answer | None]:
    """Each on a connection of its own."""
    until = time.monotonic() + within

    def answer(page: Page) -> Answer | None:
        if time.monotonic() + limit > until:
            return None
        return fetch(page.endpoint, page.path, page.health, limit=limit)

    return side_by_side(answer, pages, at_once)


def connect(endpoint: Endpoint, limit: float, *, slow_reader: bool = False) -> socket.socket:
    """Connect, with the mark of a probe, within `limit` seconds. Raises OSError.

    To a `slow_reader` the kernels of both sides hand over little that it has not read: they take about 60 KB from the
    app, where within one machine they would take megabytes.
    """
    host = WILDCARDS.get(endpoint.host, endpoint.host)
    refused: OSError | None = None
    name = host.encode() if host.isascii() else host  # text is encoded by what takes long to import
    for family, kind, protocol, _, address in socket.getaddrinfo(
        name, endpoint.port, type=socket.SOCK_STREAM
    ):
        connection = socket.socket(family, kind, protocol)
        try:
            with suppress(PermissionError):  # without privilege there is no gate either
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROBE_MARK)
            if slow_reader:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _ETHERNET)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LITTLE)
            connection.settimeout(limit)
            connection.connect(address)
        except OSError as error:
            connection.close()
            refused = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise refused or OSError("no address")


def _words(error: Exception, limit: float) -> str:

    known: tuple[tuple[type[Exception], str], ...] = (
        (ConnectionRefusedError, "connection refused"),
        (TimeoutError, f"no answer within {limit:.3g} s"),
        (ConnectionError, "connection reset"),
        (socket.gaierror, "the host's name is unknown"),
    )
    for kind, words in known:
        if isinstance(error, kind):
            return words
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
