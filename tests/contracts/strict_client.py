"""Clients that forgive nothing: on keep-alive connections, without a single retry."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from substitute.demo import load as strict
from substitute.http import exchange
from substitute.probing.probes import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from substitute.core.model.slots import Endpoint

_PATIENCE = 60.0


class Load:
    """What became of the requests so far."""

    def __init__(self, loads: list[strict.Load]) -> None:
        self._loads = loads

    @property
    def answers(self) -> Counter[str]:
        """By the name of the app that answered."""
        return sum((one.so_far.versions for one in self._loads), Counter[str]())

    @property
    def failures(self) -> list[str]:
        """What was seen, in words."""
        return [
            f"{one.method}: {failed.kind}: {failed.detail}"
            for one in self._loads
            for failed in one.so_far.failures
        ]

    def wait_for_more(self, count: int = 50) -> None:
        """Until `count` further requests were answered or failed."""
        for one in self._loads:
            one.wait_for(-(-count // len(self._loads)))


@contextmanager
def load(
    listen: Endpoint,
    clients: int = 8,
    *,
    keepalive: bool = True,
    methods: tuple[str, ...] = ("GET", "POST"),
    answered: bool = True,
) -> Iterator[Load]:
    """Requests without a pause, by default half of them POST, while the block runs; at first all are `answered`."""
    with ExitStack() as stack:
        share = clients // len(methods)
        loads = [
            strict.Load(f"http://{listen}{path}", method=method, keepalive=keepalive, connections=share)
            for method, path in (("GET", "/"), ("POST", "/echo"))
            if method in methods
        ]
        running = Load([stack.enter_context(one) for one in loads])
        if answered:
            running.wait_for_more()
        yield running
        running.wait_for_more()


def get(listen: Endpoint, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, str]:
    """One request on a connection of its own; status and body. Underscores of a header become hyphens."""
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    given = {"Host": str(listen), "Connection": "close", **given}
    with exchange.connect(f"http://{listen}", _PATIENCE) as connection:
        reply = exchange.ask(connection, exchange.request(method, path, given.items()), _PATIENCE)
    return reply.head.status, reply.body.decode()


def get_as_a_probe(endpoint: Endpoint, path: str) -> tuple[int, str]:
    """One request to the instance itself: a gate lets it through."""
    with connect(endpoint, _PATIENCE) as connection:
        asked = exchange.request("GET", path, {"Host": str(endpoint), "Connection": "close"}.items())
        reply = exchange.ask(connection, asked, _PATIENCE)
    return reply.head.status, reply.body.decode()


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


def accepts(endpoint: Endpoint) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection((endpoint.host, endpoint.port), timeout=1.0).close()
    except OSError:
        return False
    return True
