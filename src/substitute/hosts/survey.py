"""Whether a host can be reached, and has what it needs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from substitute.hosts.orders import Order

if TYPE_CHECKING:
    from substitute.hosts.asking import There
    from substitute.hosts.channel import RemoteHost


def look_at(there: There, host: RemoteHost, configuration: bytes) -> dict[str, str]:
    """What is there. Nothing is begun. Raises HostError."""
    hello = Order(there, host, ["status"], lambda *_: None).greeted()
    same = hello.get("configuration") == hashlib.sha256(configuration).hexdigest()
    return {
        "substitute": str(hello.get("version")),
        "root": str(hello.get("root")),
        "substitute.toml": "the same" if same else "another one",
    }
