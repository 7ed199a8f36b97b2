"""Load that hides nothing: strict HTTP/1 clients which never retry.

Browsers and libraries send a request again when a kept-alive connection turns out to be closed; here that is a
failure, and so is everything else that is not the whole right answer.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from substitute.core.polling import wait_until
from substitute.http import exchange
from substitute.http.failures import FailedError, Kind

if TYPE_CHECKING:
    from socket import socket

_TIMEOUT = 60.0
_BODY = b"x" * 512
_KINDS = {Kind.CLOSED: "closed", Kind.BODY: "body"}


@dataclass(frozen=True)
class Failure:
    """A request that failed: `kind` is refused, reset, closed, timeout, status or body."""

    kind: str
    at: float
    """Seconds since the load began."""
    detail: str


@dataclass
class Report:
    """What the load came to."""

    requests: int = 0
    failures: list[Failure] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)
    """How many answers came from which version (header X-Version)."""
    latencies: list[float] = field(default_factory=list)
    """Seconds, of every answered request, sorted."""

    def percentile(self, percent: float) -> float:
        """The latency that `percent` of the answered requests did not exceed, in seconds."""
        if not self.latencies:
            return 0.0
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))]


class Load:
    """Requests without pause on `connections` connections, from entering to `stop`.

    `keepalive` False opens a connection for each request. A POST carries a body that must come back. `host` is asked
    for where it is not that of the URL.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int = 4,
        method: str = "GET",
        keepalive: bool = True,
        pause: float = 0.0,
        protocol: str = "HTTP/1.1",
        host: str = "",
    ) -> None:
        self.method = method
        self._url, parts = url, urlsplit(url)
        self._body = _BODY if method == "POST" else b""
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = [
            ("Host", host or parts.netloc),
            ("Connection", "keep-alive" if keepalive else "close"),
            ("Content-Length", str(len(self._body))),
        ]
        self._request = exchange.request(method, path, headers, self._body, protocol=protocol)
        self._keepalive = keepalive
        self._pause = pause
        self._stopping = threading.Event()
        self._reports = [Report() for _ in range(connections)]
        self._threads = [
            threading.Thread(target=self._run, args=(report,), daemon=True) for report in self._reports
        ]
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def requests(self) -> int:
        """Requests that were answered or failed, up to now."""
        return sum(report.requests for report in self._reports)

    def wait_for(self, more: int, *, patience: float = 60.0) -> None:
        """Return when `more` further requests are done. Raises TimeoutError after `patience` seconds."""
        goal = self.requests + more
        if not wait_until(lambda: self.requests >= goal, patience, 0.005):
            raise TimeoutError(f"{self.requests} of {goal} requests after {patience:g}s")

    def stop(self) -> Report:
        """Let every connection finish its request, and add everything up."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident:
                thread.join()
        return self.so_far

    @property
    def so_far(self) -> Report:
        """What it has come to up to now."""
        total = Report()
        for report in self._reports:
            total.requests += report.requests
            total.failures += report.failures
            total.versions += Counter(dict(report.versions))  # a copy: others are counted meanwhile
            total.latencies += report.latencies
        total.failures.sort(key=lambda failure: failure.at)
        total.latencies.sort()
        return total

    def _run(self, report: Report) -> None:
        connection: socket | None = None
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                connection = connection or self._connect()
                reply = self._ask(connection)
            except FailedError as failed:
                kind = _KINDS.get(failed.kind, str(failed.kind))
                report.failures.append(Failure(kind, began - self._began, failed.detail))
                reusable = False
                time.sleep(0.01)  # a refused connection must not become a spin
            else:
                report.versions[reply.head.headers.get("x-version", "")] += 1
                report.latencies.append(time.monotonic() - began)
                reusable = reply.reusable and self._keepalive
            if connection and not reusable:
                connection.close()
                connection = None
            report.requests += 1
            if self._pause:
                self._stopping.wait(self._pause)
        if connection:
            connection.close()

    def _connect(self) -> socket:
        try:
            return exchange.connect(self._url, _TIMEOUT)
        except TimeoutError as error:
            raise FailedError(Kind.TIMEOUT, "no connection") from error
        except OSError as error:
            raise FailedError(Kind.REFUSED, str(error)) from error

    def _ask(self, connection: socket) -> exchange.Reply:
        try:
            reply = exchange.ask(connection, self._request, _TIMEOUT)
        except TimeoutError as error:
            raise FailedError(Kind.TIMEOUT, f"no answer within {_TIMEOUT:g}s") from error
        except OSError as error:
            raise FailedError(Kind.RESET, str(error)) from error
        if reply.head.status != 200:
            raise FailedError(Kind.STATUS, f"{reply.head.status} {reply.body[:80]!r}")
        if self._body and reply.body != self._body:
            raise FailedError(Kind.BODY, f"{reply.body[:80]!r}")
        return reply
