"""What the kernel remembers of connections that it has led to another port: ctnetlink, as conntrack(8) speaks it."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.linux import netlink, sock_diag
from substitute.linux.sock_diag import State
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_NETFILTER = 12
_NEW, _GET, _DELETE = 0x100, 0x101, 0x102
_OF_NETFILTER = struct.Struct("!BBH")
_ATTRIBUTE = struct.Struct("=HH")
_KIND = 0x3FFF
"""Without the flags that an attribute's kind has besides."""
_ORIGINAL, _REPLY, _STATUS, _ID, _ZONE = 1, 2, 3, 12, 18
_PROTOCOL, _NUMBER, _SOURCE, _DESTINATION = 2, 1, 2, 3
_LED = struct.pack("=HHI", 8, _STATUS, socket.htonl(1 << 5))
"""Only connections whose destination was changed: a busy machine has many others. Linux before 5.15 lists them too."""
_OPEN = frozenset(State) - {State.LISTEN, State.CLOSE, State.TIME_WAIT}


@dataclass(frozen=True)
class _Entry:
    """A connection that was made to `port`, and led to `target`."""

    port: int
    target: int
    peer: int
    """The port that it comes from, as whoever listens on `target` sees it."""
    name: bytes
    """By what the kernel finds it again."""


def forget_led(ports: Collection[int]) -> None:
    """Have the kernel forget the connections from one of `ports` to another that are over.

    While no rule leads connections, the kernel does not see how they end, and remembers them for days. As soon as one
    does again, a new connection that happens to come from the same port would be led as the old one was. Never raises:
    where the kernel tells nothing, all is as it was.
    """
    with (
        suppress(OSError, KeyError, struct.error),
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as kernel,
    ):
        led = [entry for entry in _entries(kernel) if entry.port in ports and entry.target in ports]
        if led:
            open_ones = {
                (port, seen.remote.port) for port in ports for seen in sock_diag.sockets(port, _OPEN)
            }
            for entry in led:
                if entry.port != entry.target and (entry.target, entry.peer) not in open_ones:
                    netlink.send(kernel, _DELETE, netlink.ACK, entry.name)
                    kernel.recv(netlink.BUFFER)


def _entries(kernel: socket.socket) -> Iterator[_Entry]:
    netlink.send(kernel, _GET, netlink.DUMP, _OF_NETFILTER.pack(socket.AF_UNSPEC, 0, 0) + _LED)
    for kind, message in netlink.dumped(kernel):
        if kind == _NEW and (entry := _entry(bytes(message))):
            yield entry


def _entry(message: bytes) -> _Entry | None:
    """What a message says of a TCP connection."""
    found = _attributes(message[_OF_NETFILTER.size :])
    original, reply = (_attributes(found[kind][4:]) for kind in (_ORIGINAL, _REPLY))
    made, back = (_attributes(one[_PROTOCOL][4:]) for one in (original, reply))
    if made[_NUMBER][4] != socket.IPPROTO_TCP:
        return None
    named = b"".join(found[kind] for kind in (_ORIGINAL, _ZONE, _ID) if kind in found)
    return _Entry(
        port=_port(made[_DESTINATION]),
        target=_port(back[_SOURCE]),
        peer=_port(back[_DESTINATION]),
        name=message[: _OF_NETFILTER.size] + named,
    )


def _attributes(data: bytes) -> dict[int, bytes]:
    """Those that stand in `data`, each with its head and padded, by kind."""
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        padded = (length + 3) & ~3
        found[kind & _KIND] = data[:padded]
        data = data[max(padded, _ATTRIBUTE.size) :]
    return found


def _port(attribute: bytes) -> int:
    return int.from_bytes(attribute[4:6], "big")
