"""The kernel's TCP sockets, asked for through netlink: sock_diag(7).

It lists the sockets of one port in 0.1 ms to some ms; the tables in ``/proc/net`` take longer, and need reading.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from enum import IntEnum
from typing import TYPE_CHECKING

from substitute.core.model.slots import Endpoint
from substitute.linux import netlink
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SOCK_DIAG = 4
_BY_FAMILY = 20
_QUESTION = struct.Struct("=BBBxI")
_SOCKET_ID = struct.Struct("!HH16s16sI8s")
_ANSWER = struct.Struct("!xBxxHH16s16s")
_QUEUE_AND_OWNER = struct.Struct("=III")
_QUEUE_AND_OWNER_AT = 60


class State(IntEnum):
    """Where a connection stands (include/net/tcp_states.h)."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


@dataclass(frozen=True)
class Socket:
    """One TCP socket. An IPv4 address mapped into IPv6 is given as IPv4."""

    state: State
    local: Endpoint
    remote: Endpoint
    user: int
    inode: int
    """0 where no process has it (yet): a connection that was not accepted."""
    unacknowledged: int
    """Bytes that were written to it, and that the other side's kernel does not have yet."""


def sockets(port: int, states: Iterable[State], *, of_peer: bool = False) -> Iterator[Socket]:
    """Yield the sockets whose own port is `port`, of both families. Raises OSError where the kernel can't tell.

    With `of_peer` those that are connected to a `port`, wherever that is.
    """
    wanted = sum(1 << state for state in states)
    for family in (socket.AF_INET, socket.AF_INET6):
        yield from _asked((0, port) if of_peer else (port, 0), wanted, family)


def _asked(ports: tuple[int, int], states: int, family: int) -> Iterator[Socket]:
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, states) + _SOCKET_ID.pack(
        *ports, b"", b"", 0, b"\xff" * 8
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        netlink.send(kernel, _BY_FAMILY, netlink.DUMP, question)
        for _, answer in netlink.dumped(kernel):
            yield _socket(answer, 16 if family == socket.AF_INET6 else 4)


def _socket(answer: memoryview, length: int) -> Socket:
    state, port, peer, address, remote = _ANSWER.unpack_from(answer)
    unread, user, inode = _QUEUE_AND_OWNER.unpack_from(answer, _QUEUE_AND_OWNER_AT)
    return Socket(
        State(state),
        Endpoint(text(address[:length]), port),
        Endpoint(text(remote[:length]), peer),
        user,
        inode,
        unread,
    )


def text(packed: bytes) -> str:
    """The address of 4 or 16 bytes as people write it."""
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)
