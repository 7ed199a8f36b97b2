"""The listening TCP sockets of this machine, as the kernel knows them."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.linux import sock_diag
from substitute.linux.sock_diag import State, text
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.model.slots import Endpoint

WILDCARDS = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # not bound
"""Hosts that mean every address, and the one to ask at."""
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared, not bound

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTEN = b"0A"
_CLOSE = b"07"
_EVERY_PORT = 0


@dataclass(frozen=True)
class Listener:
    """A listening socket: its address and port, its number in the kernel, and its owner's uid."""

    address: str
    port: int
    inode: int
    user: int


def on(endpoint: Endpoint) -> list[Listener]:
    """List who would get a connection to `endpoint`, or would keep another from listening there.

    A wildcard meets every address, of both families: whether a socket on ``::`` takes IPv4 too can't be
    seen, and node's and Java's do.
    """
    found = _known(endpoint.port)
    if not found:
        return []
    addresses = _addresses(endpoint.host)
    return [
        listener
        for listener in found
        if listener.address in _EVERYWHERE or addresses & _EVERYWHERE or listener.address in addresses
    ]


def held(inodes: set[int]) -> list[Listener]:
    """List those with these numbers, whatever port they are on."""
    return [listener for listener in _known(_EVERY_PORT) if listener.inode in inodes]


def _known(port: int) -> list[Listener]:
    try:
        return [
            Listener(seen.local.host, seen.local.port, seen.inode, seen.user)
            for seen in sock_diag.sockets(port, {State.LISTEN})
        ]
    except OSError:  # a kernel or a sandbox without sock_diag
        return [listener for table in _TABLES for listener in _listed(table, port)]


def _listed(table: str, port: int) -> Iterator[Listener]:
    wanted = b"" if port == _EVERY_PORT else f":{port:04X}".encode()
    with suppress(FileNotFoundError), open(table, "rb") as lines:  # noqa: PTH123  # asked often
        next(lines, None)
        for line in lines:
            fields = line.split(None, 10)
            if fields[3] == _LISTEN:
                if fields[1].endswith(wanted):
                    address, port = text(_packed(fields[1][:-5])), int(fields[1][-4:], 16)
                    yield Listener(address, port, int(fields[9]), int(fields[7]))
            elif fields[3] != _CLOSE:
                # Listeners come first. The connections after them may be tens of thousands.
                return


def _packed(text: bytes) -> bytes:
    # Words of 32 bits as this machine keeps them, each printed as a number.
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    return struct.pack(f"={len(words)}I", *words)


def _addresses(host: str) -> frozenset[str]:
    if host in {"", "*"}:
        return _EVERYWHERE
    with suppress(ValueError):
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return frozenset({str(mapped or address)})
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(str(entry[4][0]).partition("%")[0] for entry in found)


def sockets_of(pid: int) -> set[int]:
    """List the numbers of the sockets that `pid` holds; none where that can't be seen."""
    found = set()
    directory = f"/proc/{pid}/fd"
    # It may end at any moment, and another user's descriptors can't be read.
    with suppress(OSError):
        for descriptor in os.listdir(directory):  # noqa: PTH208  # asked often while an app starts
            with suppress(OSError):
                target = os.readlink(f"{directory}/{descriptor}")  # noqa: PTH115
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return found
