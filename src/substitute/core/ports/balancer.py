"""Decides which instances get new requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from substitute.core.model.slots import Endpoint, SlotName
    from substitute.core.ports.access_log import AccessLog


@dataclass(frozen=True)
class Server:
    """One endpoint of an app and its share of the new requests, 0 to 100. 0 means none at all."""

    slot: SlotName
    endpoint: Endpoint
    share: int
    claimed: bool = True
    """An instance of ours runs there, or is about to. Else whoever listens on it is a stranger, and left alone."""
    checked: bool = False
    """It is on another machine, which may go without a word: the balancer looks at it itself, and passes over it while
    it does not answer."""


@dataclass(frozen=True)
class Preview:
    """Whoever names `token` gets `slot`, whatever its share."""

    token: str
    slot: SlotName


@dataclass(frozen=True)
class Backend:
    """An app as the balancer sees it. No domains: it gets what no other app's domains match.

    While both slots have a share, a client stays with the slot that it met, where the balancer knows clients again.
    """

    app: str
    domains: tuple[str, ...]
    servers: tuple[Server, ...]
    preview: Preview | None = None
    candidate: SlotName | None = None
    """The slot whose version is new to clients."""
    draw: int = 0
    """With another number, other clients are the first to meet a new version."""
    assets: tuple[str, ...] = ()
    """Paths, each with a ``/`` at its end. A GET below them that is answered with 404 is asked of both slots."""
    spare: SlotName | None = None
    """Which of them is asked first then. None: only one runs, and its 404 is the answer."""
    hold: float = 0.0
    """Seconds that a request waits while `waits`, at most. 0: this app's never wait."""
    waits: bool = False
    """Its new requests wait until a server has a share; else they are refused at once while none has."""


@dataclass(frozen=True)
class Traffic:
    """What a balancer knows of one endpoint; None is what it can't know. Counters since it started."""

    in_flight: int
    """Requests; open connections where the balancer can't tell requests. 0: nothing is or may yet be sent."""
    requests: int | None
    cut: int | None
    """Answers that never came or broke off, by no fault of the client's; rather too many than too few."""
    share: int | None
    """The share that the balancer itself says is in force."""
    opened: int | None = None
    """Connections to the endpoint that it has opened since it started, where it counts them."""
    open: int | None = None
    """Those that are open now, in use or kept."""


class Balancer(Protocol):
    """Decides which instances get new requests."""

    def route(self, backends: Sequence[Backend]) -> None:
        """Make the shares of all apps of the root those given, starting the balancer where it must.

        When it returns, every new request obeys. Idempotent, and cheap when nothing changes. A restart of
        the balancer at any moment keeps the routes. Raises BalancerError when the balancer did not
        demonstrably obey; then nothing was taken from an instance that is not named otherwise.
        Of a slot whose servers are all checked, one must answer it before anything is taken from the other slot.

        What only a reload changes (see `pending`) stays as it is, unless a share cannot be given without.
        """

    def notices_after(self) -> float:
        """Seconds that `route` takes at least where requests move to a slot that had none. 0: it obeys at once.

        One that can't be told has to notice. Never raises.
        """

    def pending(self, backends: Sequence[Backend]) -> str:
        """What only a reload brings into force before `backends` can be served, as a sentence; empty where none does.

        Never raises.
        """

    def reload(self, backends: Sequence[Backend]) -> None:
        """Bring into force what `pending` says, and do what `route` does. It cuts no connection.

        Raises UnmovedError where that can't be; then it serves as before.
        """

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        """What is observed for each endpoint; empty where the balancer is ours and does not run: nothing is in flight.

        None where it can never be known here. Raises UnobservedError where it can't be at this moment: who has to
        know it asks again.
        """

    def previews(self, backend: Backend) -> Sequence[str]:
        """The links by which a browser gets what `backend.preview` names; empty where this balancer can't do that."""

    def access_log(self, app: str) -> AccessLog | None:
        """What it remembers of the requests of `app`. None where it never tells: only HAProxy does."""

    def streams(self, endpoints: Collection[Endpoint]) -> Sequence[str]:
        """The WebSockets and event streams that `endpoints` have, by names that only this balancer knows.

        Empty where it can't tell them from other requests. Raises UnobservedError where it can't at this moment.
        """

    def end_streams(self, streams: Sequence[str]) -> int:
        """End those of `streams` that are still there, and nothing else: how many. Each client sees an orderly close.

        Never raises: what could not be ended is named by `streams` again.
        """

    def fronts(self) -> Sequence[str]:
        """Where clients come in (``127.0.0.1:8080``), observed; empty where a program of the user's listens."""

    def stop(self) -> None:
        """End the balancer where it is a process of ours. No error when it does not run."""
