"""Looks at endpoints from outside, and at who listens on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.apps import Health
    from substitute.core.model.programs import Process
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

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        """Whether every listener on the port belongs to `process`, its descendants or its group.

        None while nobody listens.
        """

    def listens(self, endpoint: Endpoint, process: Process) -> bool:
        """Whether `process` itself holds a socket that listens on the port."""

    def listening(self, process: Process) -> frozenset[Endpoint]:
        """Every address and port that `process`, its descendants or its group listen on, as far as it can be seen."""

    def bound(self, endpoint: Endpoint) -> frozenset[Endpoint]:
        """The addresses that are listened on and take what is sent to `endpoint`: itself, or all of this machine."""

    def connected(self, endpoint: Endpoint) -> Connected | None:
        """Who is connected to the endpoint, which is on this machine; None where the kernel does not tell."""

    def marked(
        self, marks: Mapping[str, str], users: Iterable[str | None], root: Path
    ) -> Mapping[Process, str]:
        """All that was started with the variables of `marks`, each with its name, whoever started it, wherever it is.

        It runs as one of `users` (None: the owner of the root's state), and works in no other root than `root`. Who
        asks, who started him, what he has started, and what a hook started are not among them.
        """

    def is_elsewhere(self, process: Process, root: Path) -> bool:
        """Whether it works in another root than `root`: a journal that names it was copied from there."""

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

    def alive(self, process: Process) -> bool:
        """Whether it is still that process; a zombie is not."""

    def age(self, process: Process) -> float:
        """Seconds since it started."""
