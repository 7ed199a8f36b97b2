"""Looks at endpoints from outside, and at who listens on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.model.health import Health
    from substitute.core.model.slots import Endpoint


@dataclass(frozen=True)
class Answer:
    """What a probe saw."""

    good: bool
    seen: str
    """``200``, ``502``, ``connection refused``, ``no answer within 1 s``, ``exit status 1``, …"""
    lines: tuple[str, ...] = ()
    """What shows why it is not good: the last lines of a command, the first ones of an answer."""
    status: int = 0
    """That of a page that was fetched; 0 where no answer came."""
    seconds: float = 0.0
    """How long that took, to its last byte."""


@dataclass(frozen=True)
class Page:
    """A page of an instance."""

    endpoint: Endpoint
    path: str
    health: Health
    """Whose host and headers it is asked for with."""


@dataclass(frozen=True)
class Connected:
    """Who is, or was a moment ago, connected to an endpoint."""

    clients: frozenset[Endpoint]
    """The other ends of all connections that the kernel knows: those that are over too, for a minute."""
    open: int
    """How many are established."""


class Prober(Protocol):
    """Looks at endpoints from outside, and at who listens on them."""

    def holder(self, endpoint: Endpoint) -> str | None:
        """Who listens on the port (``node (pid 812)``), wildcard addresses included; None: it is free."""

    def bound(self, endpoint: Endpoint) -> frozenset[Endpoint]:
        """The addresses that are listened on and take what is sent to `endpoint`: itself, or all of this machine."""

    def connected(self, endpoint: Endpoint) -> Connected | None:
        """Who is connected to the endpoint, which is on this machine; None where the kernel does not tell."""

    def probe(self, endpoint: Endpoint, health: Health) -> Answer:
        """Ask once, as `health` says. Never raises."""

    def fetch(self, endpoint: Endpoint, path: str, health: Health, *, limit: float) -> Answer:
        """Ask for `path` with the headers of `health`, and take the whole answer, for `limit` seconds. Never raises."""

    def fetch_all(
        self, pages: Sequence[Page], *, at_once: int, limit: float, within: float
    ) -> Sequence[Answer | None]:
        """Fetch each within `limit` seconds, so many `at_once`, in their order; the answers, in that order too.

        None stands for a page that was not asked for, since all together have `within` seconds: none is begun that
        may not end by then. Never raises.
        """
