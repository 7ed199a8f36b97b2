"""Visitors of a website: each does a whole visit again and again, and a request that fails is never sent again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from substitute.core.polling import wait_until
from substitute.http import exchange
from substitute.http.failures import FailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from socket import socket

_TIMEOUT = 60.0


class Visitor:
    """One client, which keeps its connection while the server does; `headers` go with each request."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._url = url
        self._headers = headers or {}
        self._connection: socket | None = None

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        status: int = 200,
    ) -> exchange.Reply:
        """Ask once. Raises AssertionError, OSError or FailedError if that is not answered in full with `status`."""
        own = {
            "Host": "shop.example.com",
            **self._headers,
            **(headers or {}),
            "Content-Length": str(len(body)),
        }
        connection = self._connection or exchange.connect(self._url, _TIMEOUT)
        self._connection = None
        try:
            reply = exchange.ask(connection, exchange.request(method, path, own.items(), body), _TIMEOUT)
        except (OSError, FailedError):
            connection.close()
            raise
        if reply.reusable:
            self._connection = connection
        else:
            connection.close()
        assert reply.head.status == status, f"{method} {path}: {reply.head.status} {reply.body[:500]!r}"
        return reply

    def close(self) -> None:
        if self._connection:
            self._connection.close()


class Visitors:
    """Several visitors at once, from entering to leaving. `visit` gets one of them and the number of its visit."""

    def __init__(
        self, made: Callable[[], Visitor], visit: Callable[[Visitor, str], object], *, count: int = 2
    ) -> None:
        self.failures: list[str] = []
        self._done = [0] * count  # each thread counts its own
        self._visit = visit
        self._visitors = [made() for _ in range(count)]
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=numbered, daemon=True)
            for numbered in enumerate(self._visitors)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def visits(self) -> int:
        return sum(self._done)

    def wait_for(self, more: int, *, patience: float = 60.0) -> None:
        """Return when `more` further visits are done. Raises AssertionError after `patience` seconds."""
        goal = self.visits + more
        reached = wait_until(lambda: self.visits >= goal, patience, 0.01)
        assert reached, f"{self.visits} of {goal} visits after {patience:g}s"

    def _run(self, number: int, visitor: Visitor) -> None:
        while not self._stopping.is_set():
            try:
                self._visit(visitor, f"{number}.{self._done[number]}")
            except (AssertionError, OSError, FailedError) as failed:
                self.failures.append(f"{type(failed).__name__}: {failed}")
            self._done[number] += 1
            self._stopping.wait(0.1)  # or the builds beside them would starve
        visitor.close()
