"""One request to an instance, and whether its answer is good."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from substitute.core.ports.prober import Answer
from substitute.http import exchange
from substitute.http.answer import Answer as Reader
from substitute.http.failures import FailedError, Kind
from substitute.values import dataclass

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from substitute.core.model.health import Health
    from substitute.core.model.slots import Endpoint
    from substitute.http.answer import Head

_SEARCHED = 65536
"""Bytes of an answer's body that are looked at."""
_MOST = _SEARCHED + 16384
"""Bytes of an answer that are read, where it need not be whole."""
_SHOWN, _WIDTH = 5, 200
"""Lines of an answer that are shown, and characters of each."""


@dataclass(frozen=True)
class Reply:
    """What came."""

    head: Head
    body: bytes
    """As much of it as is looked at."""
    whole: bool

    @property
    def told(self) -> str:
        """``200``, or ``301 to https://shop.example.com/``."""
        to = self.head.headers.get("location", "") if 300 <= self.head.status < 400 else ""
        return f"{self.head.status} to {_shown(to)}" if to else str(self.head.status)

    def judged(self, health: Health) -> Answer:
        """Whether that is a good answer."""
        if not health.accepts(self.head.status):
            return Answer(good=False, seen=self.told)
        if health.expect and health.expect.encode() not in self.body:
            lines = self.body.decode(errors="replace").splitlines()[:_SHOWN]
            return Answer(
                good=False, seen=f"{self.told} without the expected text", lines=tuple(map(_shown, lines))
            )
        return Answer(good=True, seen=self.told)


def ask(
    connection: socket.socket,
    endpoint: Endpoint,
    health: Health,
    limit: float,
    *,
    path: str = "",
    whole: bool = False,
) -> Reply:
    """Send a GET for `path`, by default that of `health`, and take its answer for `limit` seconds.

    An answer that is long or never ends (a stream) is left, unless it is to be `whole`. Raises OSError, FailedError, or
    ValueError for what can't be asked.
    """
    until = time.monotonic() + limit
    path = path or health.path
    if not exchange.is_target(path):
        raise ValueError("the health check's path is no path of a URL")
    headers = {**merged(endpoint, health.host, health.headers), "Connection": "close"}
    connection.sendall(exchange.request("GET", path, headers.items()))
    body = bytearray()
    reader = Reader(lambda data: body.extend(data[: _SEARCHED - len(body)]))
    try:
        # The body is read so that the app can finish its answer.
        while not exchange.hear(connection, reader, until) and (whole or reader.received < _MOST):
            pass
    except TimeoutError:
        if reader.head is None:
            raise
    except FailedError as failure:
        if not reader.whole:
            cut = (
                "an answer that ended too early" if reader.received else "connection closed without an answer"
            )
            words = cut if failure.kind is Kind.CLOSED else "an answer that is not HTTP"
            raise FailedError(failure.kind, words) from failure
    if reader.head is None:
        raise FailedError(Kind.BODY, "an answer that is not HTTP")
    return Reply(reader.head, bytes(body), reader.whole)


def merged(endpoint: Endpoint, host: str | None, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a request, in which `headers` win over our own."""
    named = {name.lower() for name in headers}
    ours = {"User-Agent": "substitute", "Accept": "*/*"}
    usual = {name: value for name, value in ours.items() if name.lower() not in named}
    return {"Host": host or str(endpoint), **usual, **headers}


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:_WIDTH])
