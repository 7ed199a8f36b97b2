"""The kinds of traffic that an operation must not hurt, as clients that never ask twice."""

from __future__ import annotations

import hashlib
import os
import random
from contextlib import ExitStack
from http.client import HTTPConnection, IncompleteRead
from typing import TYPE_CHECKING, Protocol

from substitute.demo.load import Load
from tests.e2e.traffic_app import content_of
from tests.e2e.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.client import HTTPResponse

    from tests.e2e.site import Site

_PATIENCE = 60.0
PAUSE = float(os.environ.get("PAUSE", "0.02"))
"""Seconds between the requests of a client. Three that hardly pause take a whole core from the operation, and from the
tests beside it; `make test-long` has them."""
ENOUGH = round(0.2 / PAUSE)
"""Requests of each client, before and after every operation."""
_UPLOAD = random.Random("upload").randbytes(2 << 20)  # noqa: S311  # no secret, only reproducible


def flowing(url: str, *, method: str = "GET", keepalive: bool = True, protocol: str = "HTTP/1.1") -> Load:
    """One request after the other. What saturates a processor is in the suite of the balancers."""
    return Load(url, method=method, keepalive=keepalive, protocol=protocol, connections=1, pause=PAUSE)


FLOWING: dict[str, Callable[[str], list[Load]]] = {
    "GET": lambda url: [flowing(url)],
    "POST": lambda url: [flowing(url, method="POST")],
    "HTTP/1.0": lambda url: [
        flowing(url, protocol="HTTP/1.0", keepalive=keepalive) for keepalive in (True, False)
    ],
    "new connections": lambda url: [
        flowing(url, method=method, keepalive=False) for method in ("GET", "POST")
    ],
}
"""Before, during and after the operation."""


def under_load(site: Site, *operations: Callable[[], object]) -> set[str]:
    """Run `operations` while GET and POST flow; the versions that answered. No request fails.

    Every kind is in the matrix of traffic.
    """
    with ExitStack() as stack:
        loads = [
            stack.enter_context(flowing(site.url)),
            stack.enter_context(flowing(site.url, method="POST")),
            stack.enter_context(flowing(site.url, keepalive=False)),
        ]
        for operation in (lambda: None, *operations):
            operation()
            for load in loads:
                load.wait_for(ENOUGH)
        reports = [load.stop() for load in loads]
    failures = [failure for report in reports for failure in report.failures]
    assert failures == [], failures
    return {version for report in reports for version in report.versions}


class InFlight(Protocol):
    """One request, begun on the instance that serves; it goes on until it is told to finish."""

    def __init__(self, port: int) -> None:
        """Begin: part of it has been sent, and where there is an answer already, part of that has come."""

    def finish(self, name: str) -> None:
        """Send and read the rest: the answer is whole, right to the byte, and from the instance `name`."""

    def close(self) -> None:
        """Leave, if it did not come to its end."""


class _Request:
    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        self._response: HTTPResponse | None = None

    def close(self) -> None:
        if self._response:
            self._response.close()
        self._connection.close()

    def _opened(self) -> HTTPResponse:
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        return self._response

    def _is_from(self, name: str, response: HTTPResponse) -> None:
        assert response.getheader("X-Version") == name


class Slow(_Request):
    """The app takes its time for the answer, until the next /release."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._connection.request("GET", "/wait")

    def finish(self, name: str) -> None:
        response = self._opened()
        self._is_from(name, response)
        assert response.read() == name.encode()


class Upload(_Request):
    """A chunked body whose second half the client holds back."""

    _HALF = len(_UPLOAD) // 2

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._connection.putrequest("POST", "/upload")
        self._connection.putheader("Transfer-Encoding", "chunked")
        self._connection.endheaders()
        self._send(_UPLOAD[: self._HALF])

    def finish(self, name: str) -> None:
        self._send(_UPLOAD[self._HALF :])
        self._send(b"")
        response = self._opened()
        self._is_from(name, response)
        assert response.read() == f"{name} {hashlib.sha256(_UPLOAD).hexdigest()}".encode()

    def _send(self, chunk: bytes) -> None:
        self._connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))


class Download(_Request):
    """A body of which the client has read no more than the beginning."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._connection.request("GET", "/download")
        self._download = self._opened()
        self._beginning = self._download.read(65536)

    def finish(self, name: str) -> None:
        self._is_from(name, self._download)
        assert self._beginning + self._download.read() == content_of(name)


class Events(_Request):
    """Server-sent events, which the app ends at the next /release."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._connection.request("GET", "/events", headers={"Accept": "text/event-stream"})
        self._events = self._opened()
        self.go_on()

    def go_on(self) -> None:
        """Another event comes."""
        assert self._event().startswith("data: ")

    def finish(self, name: str) -> None:
        while (event := self._event()) != "event: end\n":
            assert event == f"data: {name}\n"
        assert self._events.read() == b""

    def is_cut(self) -> bool:
        """Wait for the end: whether it came in the middle of the answer."""
        try:
            self._events.read()
        except (IncompleteRead, ConnectionResetError):
            return True
        return False

    def _event(self) -> str:
        event = self._events.readline().decode()
        assert self._events.readline() == b"\n"
        return event


class Conversation:
    """A WebSocket; it is the client who leaves."""

    def __init__(self, port: int) -> None:
        self._socket = WebSocket(port)
        self.go_on()

    def go_on(self) -> None:
        """What is said is answered."""
        assert self._socket.ask("hello").endswith(":hello")

    def finish(self, name: str) -> None:
        assert self._socket.ask("still there?") == f"{name}:still there?"
        self._socket.leave()

    def close(self) -> None:
        self._socket.close()

    def is_cut(self) -> bool:
        """Wait for the end: whether it came without a word."""
        return self._socket.is_cut()


IN_FLIGHT: dict[str, type[InFlight]] = {
    "slow": Slow,
    "chunked upload in flight": Upload,
    "large download in flight": Download,
    "SSE": Events,
    "WebSocket": Conversation,
}
STREAMS: dict[str, type[Events | Conversation]] = {"SSE": Events, "WebSocket": Conversation}
"""Those that may have no end."""
KINDS = (*FLOWING, *IN_FLIGHT)
