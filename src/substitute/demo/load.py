"""Load that hides nothing: strict HTTP/1 clients which never retry.

Browsers and libraries send a request again when a kept-alive connection turns out to be closed; here that is a
failure, and so is everything else that is not the whole right answer.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

_TIMEOUT = 60.0
_BODY = b"x" * 512


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

    `keepalive` False opens a connection for each request. A POST carries a body that must come back.
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
    ) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._body = _BODY if method == "POST" else b""
        path = parts.path or "/"
        if parts.query:
            path += f"?{parts.query}"
        ending = "keep-alive" if keepalive else "close"
        self._request = (
            f"{method} {path} {protocol}\r\nHost: {parts.netloc}\r\nConnection: {ending}\r\n"
            f"Content-Length: {len(self._body)}\r\n\r\n"
        ).encode() + self._body
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
        goal, deadline = self.requests + more, time.monotonic() + patience
        while self.requests < goal:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.requests} of {goal} requests after {patience:g}s")
            time.sleep(0.005)

    def stop(self) -> Report:
        """Let every connection finish its request, and add everything up."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident:
                thread.join()
        total = Report()
        for report in self._reports:
            total.requests += report.requests
            total.failures += report.failures
            total.versions += report.versions
            total.latencies += report.latencies
        total.failures.sort(key=lambda failure: failure.at)
        total.latencies.sort()
        return total

    def _run(self, report: Report) -> None:
        connection: _Connection | None = None
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                connection = connection or _Connection(self._address)
                version, reusable = connection.ask(self._request, self._body)
            except _FailedError as failed:
                report.failures.append(Failure(failed.kind, began - self._began, failed.detail))
                _close(connection)
                connection = None
                time.sleep(0.01)  # a refused connection must not become a spin
            else:
                report.versions[version] += 1
                report.latencies.append(time.monotonic() - began)
                if not (reusable and self._keepalive):
                    _close(connection)
                    connection = None
            report.requests += 1
            if self._pause:
                self._stopping.wait(self._pause)
        _close(connection)


def _close(connection: _Connection | None) -> None:
    if connection:
        connection.close()


class _FailedError(Exception):
    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class _Connection:
    """One connection, one request at a time, read to the last byte."""

    def __init__(self, address: tuple[str, int]) -> None:
        try:
            self._socket = socket.create_connection(address, timeout=_TIMEOUT)
        except TimeoutError as error:
            raise _FailedError("timeout", "no connection") from error
        except OSError as error:
            raise _FailedError("refused", str(error)) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def ask(self, request: bytes, echo: bytes) -> tuple[str, bool]:
        """Send a request; the version that answered, and whether the connection may be used again."""
        try:
            self._socket.sendall(request)
            head = self._read_head()
            status, headers = _parse(head)
            chunked = headers.get("transfer-encoding", "").lower() == "chunked"
            body = self._read_chunks() if chunked else self._read(int(headers.get("content-length", "0")))
        except TimeoutError as error:
            raise _FailedError("timeout", f"no answer within {_TIMEOUT:g}s") from error
        except OSError as error:
            raise _FailedError("reset", str(error)) from error
        except (ValueError, IndexError) as error:
            raise _FailedError("body", f"no HTTP: {error}") from error
        if status != 200:
            raise _FailedError("status", f"{status} {body[:80]!r}")
        if echo and body != echo:
            raise _FailedError("body", f"{body[:80]!r}")
        return headers.get("x-version", ""), headers.get("connection", "").lower() != "close"

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def _read_head(self) -> bytes:
        return self._read_until(b"\r\n\r\n")

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self._read_until(b"\r\n").partition(b";")[0], 16):
            body += self._read(size)
            self._read(2)
        self._read(2)  # no trailers
        return body

    def _read_until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            self._more()
        found, _, self._buffer = self._buffer.partition(end)
        return found

    def _read(self, length: int) -> bytes:
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return body

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise _FailedError("closed", f"closed after {len(self._buffer)} bytes of the answer")
        self._buffer += data


def _parse(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(first.split(" ")[1]), headers
