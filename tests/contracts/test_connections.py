"""Where a connection arrives, as the kernel tells it."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.slots import Endpoint
from substitute.linux import connections
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ports() -> Iterator[tuple[Endpoint, Endpoint]]:
    """Two that listen."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        found = [Endpoint("127.0.0.1", listening.getsockname()[1]) for listening in (one, other)]
        yield found[0], found[1]


def test_a_connection_arrives_where_it_was_sent(ports: tuple[Endpoint, Endpoint]) -> None:
    first, second = ports
    assert connections.arrives_at(first, (second.port, first.port)) == first.port


@pytest.mark.parametrize("bit", [0, connections.LED_BIT], ids=["the same port", "its led counterpart"])
def test_a_stranger_whose_port_looks_like_ours_is_not_taken_for_us(
    ports: tuple[Endpoint, Endpoint], monkeypatch: pytest.MonkeyPatch, bit: int
) -> None:
    first, second = ports
    ours = free_port()
    theirs = ("127.0.0.2", ours ^ bit)
    stranger = socket.create_connection(("127.0.0.1", second.port), source_address=theirs)
    bound = partial(socket.create_connection, source_address=("127.0.0.1", ours))
    with stranger, monkeypatch.context() as patch:
        patch.setattr(socket, "create_connection", bound)
        assert connections.arrives_at(first, (second.port, first.port)) == first.port
