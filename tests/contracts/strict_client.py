"""Clients that forgive nothing: on keep-alive connections, without a single retry."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from substitute.linux.connections import PROBE_MARK, WILDCARDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from substitute.core.model.slots import Endpoint

_BODY = b"x" * 2000
_PATIENCE = 60.0


@dataclass
class Load:
    """What became of the requests so far."""

    answers: Counter[str] = field(default_factory=Counter)
    """By the name of the app that answered."""
    failures: list[str] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, listen: Endpoint, method: str, *, keepalive: bool) -> None:
        """One client, until the load ends."""
        connection = http.client.HTTPConnection(listen.host, listen.port, timeout=_PATIENCE)
        while not self._stopped.is_set():
            try:
                connection.request(method, "/", _BODY if method == "POST" else None)
                response = connection.getresponse()
                said = response.read()
                if response.status == 200:
                    self.answers[said[:2].decode()] += 1
                else:
                    self.failures.append(f"{method}: {response.status}")
                if not keepalive:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{method}: {error!r}")
                connection.close()
        connection.close()

    def stop(self) -> None:
        """Let every client finish its request and leave."""
        self._stopped.set()

    def wait_for_more(self, count: int = 50) -> None:
        """Until `count` further requests were answered or failed."""
        enough = self.answers.total() + len(self.failures) + count
        until(lambda: self.answers.total() + len(self.failures) >= enough)


@contextmanager
def load(
    listen: Endpoint, clients: int = 8, *, keepalive: bool = True, methods: tuple[str, ...] = ("GET", "POST")
) -> Iterator[Load]:
    """Requests without a pause, by default half of them POST, while the block runs."""
    running = Load()
    threads = [
        threading.Thread(
            target=running.run, args=(listen, methods[number % len(methods)]), kwargs={"keepalive": keepalive}
        )
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        running.wait_for_more()
        yield running
        running.wait_for_more()
    finally:
        running.stop()
        for thread in threads:
            thread.join()


def get(listen: Endpoint, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, str]:
    """One request on a connection of its own; status and body. Underscores of a header become hyphens."""
    connection = http.client.HTTPConnection(listen.host, listen.port, timeout=_PATIENCE)
    return _get(connection, path, headers, method)


def get_as_a_probe(endpoint: Endpoint, path: str) -> tuple[int, str]:
    """One request to the instance itself: a gate lets it through."""
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=_PATIENCE)
    connection.sock = socket.socket(socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET)
    with suppress(PermissionError):
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROBE_MARK)
    connection.sock.connect((WILDCARDS.get(endpoint.host, endpoint.host), endpoint.port))
    return _get(connection, path, {})


def _get(
    connection: http.client.HTTPConnection, path: str, headers: dict[str, str], method: str = "GET"
) -> tuple[int, str]:
    try:
        connection.request(
            method, path, headers={key.replace("_", "-"): value for key, value in headers.items()}
        )
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@contextmanager
def conversation(listen: Endpoint) -> Iterator[Callable[[str], str]]:
    """A long connection, as a WebSocket is one: say a line, get a line; an empty one is the end."""
    with socket.create_connection((listen.host, listen.port), timeout=_PATIENCE) as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        with connection.makefile("rw", newline="\n") as stream:
            assert " 101 " in stream.readline()
            while stream.readline().strip():
                pass

            def say(line: str) -> str:
                stream.write(line + "\n")
                stream.flush()
                answer = stream.readline().strip()
                if not answer:
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
                return answer

            yield say


def until(reached: Callable[[], object], patience: float = _PATIENCE) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)


def accepts(endpoint: Endpoint) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((endpoint.host, endpoint.port), timeout=1.0).close()
    except OSError:
        return False
    return True
