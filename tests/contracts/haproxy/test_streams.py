"""WebSockets and event streams, which HAProxy names and ends one by one."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from substitute.balancers.haproxy.streams import Stream
from tests.contracts.balanced_site import A, B, Site
from tests.contracts.haproxies import another_app
from tests.contracts.strict_client import conversation
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def begun(site: Site, path: str, method: str = "GET") -> Iterator[socket.socket]:
    """An answer that has begun, and does not end before ``/release``."""
    with socket.create_connection((site.listen.host, site.listen.port), timeout=60) as client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        assert b"\r\n\r\n" in client.recv(1000)
        yield client


@contextmanager
def upgraded(site: Site) -> Iterator[socket.socket]:
    """As a WebSocket is; nothing is said, for who says something to a connection that was closed may be reset."""
    with socket.create_connection((site.listen.host, site.listen.port), timeout=60) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 101 " in client.recv(1000)
        yield client


def ended(client: socket.socket) -> bool:
    """Wait for more: whether the connection was closed in good order. A reset is an exception."""
    while client.recv(1000):
        pass
    return True


@pytest.fixture
def beside(site: Site) -> Iterator[list[socket.socket]]:
    """What is no stream to be ended: a slow answer, and that to a POST, which its client would not send again."""
    site.route(100, 0)
    with begun(site, "/half") as slow, begun(site, "/events", "POST") as posted:
        yield [slow, posted]


def test_streams_are_known_and_ended_one_by_one_and_nothing_else_is(
    site: Site, beside: list[socket.socket]
) -> None:
    with upgraded(site) as websocket, begun(site, "/events") as events:
        site.route(0, 100)
        with conversation(site.listen) as other:
            assert other("one") == "b0 one"
            first, second = site.balancer.streams([site.endpoints[A]])
            assert len(site.balancer.streams([site.endpoints[B]])) == 1
            cut = site.traffic(A).cut
            assert site.balancer.end_streams([first]) == 1
            assert ended(websocket)
            assert site.balancer.end_streams([first, second]) == 1, "one of them is gone already"
            assert ended(events)
            assert site.balancer.streams([site.endpoints[A]]) == []
            eventually(lambda: site.traffic(A).in_flight == len(beside))
            assert other("two") == "b0 two"
            assert (site.traffic(A).cut or 0) - (cut or 0) == 1  # its tunnel, which `Drained` leaves out


def test_a_worker_that_leaves_is_asked_for_its_streams_too(site: Site) -> None:
    site.route(100, 0)
    with upgraded(site) as old, begun(site, "/events") as events:
        site.balancer.route([site.shop(100, 0), another_app()])
        with upgraded(site) as new:
            site.balancer.route([site.shop(0, 100), another_app()])
            found = site.balancer.streams([site.endpoints[A]])
            assert len({Stream.read(one).worker for one in found}) == 2
            assert site.balancer.end_streams(found) == 3
            assert all(map(ended, (old, new, events)))
    site.drained(A)


def test_what_has_the_address_of_a_stream_that_ended_is_left_alone(site: Site) -> None:
    site.route(100, 0)
    with ExitStack() as stack:
        with conversation(site.listen) as say:
            assert say("one") == "a0 one"
            gone = [Stream.read(one) for one in site.balancer.streams([site.endpoints[A]])]
            say("close")
        eventually(lambda: not site.balancer.streams([site.endpoints[A]]))
        says = [stack.enter_context(conversation(site.listen)) for _ in range(20)]
        addresses = [Stream.read(one).address for one in site.balancer.streams([site.endpoints[A]])]
        assert gone[0].address in addresses, "HAProxy gives the memory of a stream to the next one"
        assert site.balancer.end_streams([str(one) for one in gone]) == 0
        assert [say("two") for say in says] == ["a0 two"] * 20
