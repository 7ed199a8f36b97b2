"""Who listens on endpoints, and what they answer."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.slots import Endpoint
from substitute.linux import listeners, processes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from substitute.core.model.health import Health
    from substitute.core.ports.prober import Answer, Connected, Page


class Sockets:
    """Probes over the network, and the kernel's tables of sockets (see `core.ports.prober.Prober`)."""

    def holder(self, endpoint: Endpoint) -> str | None:
        """Who listens on the port (``node (pid 812)``), wildcard addresses included; None: it is free."""
        found = listeners.on(endpoint)
        if not found:
            return None
        names = {listener.inode: "" for listener in found}
        for pid in _every_pid():
            for inode in listeners.sockets_of(pid) & names.keys():
                names[inode] = names[inode] or f"{processes.name(pid)} (pid {pid})"
            if all(names.values()):
                break
        return ", ".join(sorted({names[listener.inode] or _somebody(listener.user) for listener in found}))

    def bound(self, endpoint: Endpoint) -> frozenset[Endpoint]:
        """Look it up in the kernel's table of listening sockets alone."""
        return frozenset(Endpoint(found.address, found.port) for found in listeners.on(endpoint))

    def connected(self, endpoint: Endpoint) -> Connected | None:
        """From both ends: whoever closes first keeps the connection in TIME_WAIT."""
        from substitute.linux.connections import connected  # noqa: PLC0415  # few apps bypass the balancer

        try:
            return connected(endpoint.port)
        except OSError:
            return None

    def probe(self, endpoint: Endpoint, health: Health) -> Answer:
        """Ask once, as `health` says. Never raises."""
        from substitute.probing.probes import probe  # noqa: PLC0415  # `status` asks no app

        return probe(endpoint, health)

    def fetch(self, endpoint: Endpoint, path: str, health: Health, *, limit: float) -> Answer:
        """Ask for `path` with the headers of `health`, and take the whole answer, for `limit` seconds. Never raises."""
        from substitute.probing.probes import fetch  # noqa: PLC0415  # as above

        return fetch(endpoint, path, health, limit=limit)

    def fetch_all(
        self, pages: Sequence[Page], *, at_once: int, limit: float, within: float
    ) -> Sequence[Answer | None]:
        """Each on a connection of its own."""
        from substitute.probing.probes import fetch_all  # noqa: PLC0415  # as above

        return fetch_all(pages, at_once=at_once, limit=limit, within=within)


def _every_pid() -> Iterable[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208


def _somebody(user: int) -> str:
    with suppress(OSError):
        for line in Path("/etc/passwd").read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split(":")
            if len(fields) > 2 and fields[2] == str(user):
                return f"a process of user {fields[0]} (which one can't be seen without privilege)"
    return f"a process of user {user} (which one can't be seen without privilege)"
