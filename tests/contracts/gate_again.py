"""Prints where a connection arrives that comes from the port of an earlier one, which an earlier gate has led.

Run in a network of its own: nobody else's rules have the kernel see how that one ends.
"""

from __future__ import annotations

import socket
import struct

from substitute.balancers.passive.gate import Gate
from substitute.balancers.passive.rules import Passage
from substitute.core.model.slots import Endpoint

A, B = (Endpoint("127.0.0.1", port) for port in (3001, 3002))
NAME, CLIENT = "substitute_again", ("127.0.0.1", 40000)
AT_ONCE = struct.pack("ii", 1, 0)


def arrives(listeners: dict[str, socket.socket]) -> str:
    """Connect to slot a from the one port, and say who has accepted it; it is closed at once."""
    with socket.create_connection((A.host, A.port), timeout=10, source_address=CLIENT) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        for name, listener in listeners.items():
            listener.settimeout(1)
            try:
                accepted, _ = listener.accept()
            except TimeoutError:
                continue
            with accepted:
                if name == "b":
                    Gate(NAME).remove()
                return name
    return "nobody"


def main() -> None:
    """Lead it to b, take the gate away while the connection is open, and lead none away."""
    with socket.create_server((A.host, A.port)) as a, socket.create_server((B.host, B.port)) as b:
        for live in (B, A):
            Gate(NAME).set([Passage(A, live), Passage(B, live)])
            print(arrives({"b": b, "a": a}))  # noqa: T201


if __name__ == "__main__":
    main()
