"""Where a new instance listens, if that is not where it should: on another port, or on every address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.readiness.unready import misses, places, to_listen
from substitute.core.model.events import Warned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from substitute.core.deploy.readiness.started import Started
    from substitute.core.host import Host

_FIRST, _PAUSE = 0.5, 0.25
"""Seconds until it is first looked at, and between two looks: an app that starts quickly is left alone."""
_PATIENCE = 1.0
"""Seconds that something else may be open before the port: an app with an admin port opens one after the other."""
_EVERY = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared, not bound


class Elsewhere:
    """Tells once, while an instance does not listen where it should, where it does."""

    def __init__(self, host: Host, started: Started) -> None:
        self._host, self._started = host, started
        self._next = host.clock.monotonic() + _FIRST
        self._since: float | None = None
        self._told = False

    def look(self) -> None:
        """Look once, not too often."""
        now = self._host.clock.monotonic()
        if self._told or now < self._next:
            return
        self._next = now + _PAUSE
        started, instance = self._started, self._started.instance
        found = self._host.instances.listening(started.process)
        if not found or not found.isdisjoint(instance.endpoints):  # it has just begun to listen there
            return
        self._since = now if self._since is None else self._since
        if now - self._since >= _PATIENCE:
            self._told = True
            endpoint = instance.endpoints[0]
            told = f"{instance.subject} runs, and it listens on {misses(found, endpoint)}."
            self._host.emit(Warned(f"{told} {to_listen(endpoint, started.program.command)}"))


def exposure(host: Host, started: Iterable[Started]) -> str:
    """A warning where one takes connections from everywhere, though its `host` is this machine's own; else empty.

    They are ready: whoever listens there is one of them.
    """
    for one in started:
        for endpoint in filter(lambda place: _is_loopback(place.host), one.instance.endpoints):
            found = [place for place in host.prober.bound(endpoint) if place.host in _EVERY]
            if found:
                return (
                    f"{one.instance.subject} listens on {places(found)}, though app.{one.instance.app}.host is "
                    f"{endpoint.host}: whoever reaches this machine can reach the app past the balancer, if no "
                    f"firewall stops them. {to_listen(endpoint, one.program.command)}"
                )
    return ""


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")
