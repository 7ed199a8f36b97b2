"""The listening TCP sockets of this machine, as the kernel knows them."""

from __future__ import annotations

import ipaddress
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.slots import Endpoint

_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared, not bound

# sock_diag(7) lists the listeners on one port in 0.1 ms; each of the tables in /proc takes 3 ms, because
# the kernel walks through all its connections for them.
_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_LISTENING = 1 << 10
_HEADER = struct.Struct("=IHHII")
_QUESTION = struct.Struct("=BBBxI")
_SOCKET_ID = struct.Struct("!HH16s16sI8s")
_ANSWER = struct.Struct("=4x4x16s16s12x12xII")
_BUFFER = 1 << 18

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTEN = b"0A"
_CLOSE = b"07"


@dataclass(frozen=True)
class Listener:
    """A listening socket: its address, its number in the kernel, and its owner's uid."""

    address: str
    inode: int
    user: int


def on(endpoint: Endpoint) -> list[Listener]:
    """List who would get a connection to `endpoint`, or would keep another from listening there.

    A wildcard meets every address, of both families: whether a socket on ``::`` takes IPv4 too can't be
    seen, and node's and Java's do.
    """
    try:
        found = [*_asked(endpoint.port, socket.AF_INET), *_asked(endpoint.port, socket.AF_INET6)]
    except OSError:  # a kernel or a sandbox without sock_diag
        found = [listener for table in _TABLES for listener in _listed(table, endpoint.port)]
    if not found:
        return []
    addresses = _addresses(endpoint.host)
    return [
        listener
        for listener in found
        if listener.address in _WILDCARDS or addresses & _WILDCARDS or listener.address in addresses
    ]


def _asked(port: int, family: int) -> Iterator[Listener]:
    question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, _LISTENING) + _SOCKET_ID.pack(
        port, 0, b"", b"", 0, b"\xff" * 8
    )
    header = _HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
        kernel.sendto(header + question, (0, 0))
        while True:
            answers = memoryview(kernel.recv(_BUFFER))
            while answers:
                length, kind, *_ = _HEADER.unpack_from(answers)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise OSError("the kernel has no list of sockets")
                source, _, user, inode = _ANSWER.unpack_from(answers, _HEADER.size)
                yield Listener(_text(source if family == socket.AF_INET6 else source[:4]), inode, user)
                answers = answers[(length + 3) & ~3 :]


def _listed(table: str, port: int) -> Iterator[Listener]:
    wanted = f":{port:04X}".encode()
    with suppress(FileNotFoundError), open(table, "rb") as lines:  # noqa: PTH123  # asked often
        next(lines, None)
        for line in lines:
            fields = line.split(None, 10)
            if fields[3] == _LISTEN:
                if fields[1].endswith(wanted):
                    yield Listener(_text(_packed(fields[1][:-5])), int(fields[9]), int(fields[7]))
            elif fields[3] != _CLOSE:
                # Listeners come first. The connections after them may be tens of thousands.
                return


def _packed(text: bytes) -> bytes:
    # Words of 32 bits as this machine keeps them, each printed as a number.
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    return struct.pack(f"={len(words)}I", *words)


def _text(packed: bytes) -> str:
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def _addresses(host: str) -> frozenset[str]:
    if host in {"", "*"}:
        return _WILDCARDS
    with suppress(ValueError):
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return frozenset({str(mapped or address)})
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset(str(entry[4][0]).partition("%")[0] for entry in found)
